"""The chart before the cluster itself: what it takes, and what the restricted standard says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.deploy.test_chart import EVERYTHING
from tests.harness.cluster import Namespace, new_namespace
from tests.harness.helm import Helm, Objects

# Not of Kubernetes itself: clusters have it where the Prometheus operator is.
FOREIGN = {"ServiceMonitor"}


@pytest.fixture(scope="module")
def here() -> Iterator[Namespace]:
    with new_namespace("dachub-test-judged") as namespace:
        yield namespace


@pytest.fixture(scope="module", params=["defaults", "everything"])
def objects(request: pytest.FixtureRequest, here: Namespace) -> Objects:
    given = {"defaults": {}, "everything": EVERYTHING}[request.param]
    rendered = Helm.found().objects(given, "--namespace", here.name)
    return Objects(each for each in rendered if each["kind"] not in FOREIGN)


def test_the_cluster_takes_every_object_without_a_warning(
    here: Namespace, objects: Objects
) -> None:
    done = here.kubectl("apply", "--dry-run=server", "--filename=-", given=objects)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


def test_the_restricted_standard_lets_every_pod_in(here: Namespace, objects: Objects) -> None:
    here.do("apply", "--filename=-", given=[objects.one("ServiceAccount")])
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**pod["metadata"], "name": component},
            # Priority classes are not there in a dry run.
            "spec": {key: v for key, v in pod["spec"].items() if key != "priorityClassName"},
        }
        for component, pod in objects.pods().items()
    ]
    done = here.kubectl("create", "--dry-run=server", "--filename=-", given=pods)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
