"""The chart before the cluster itself: what it takes, and what the restricted standard says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


GIVEN = {
    "defaults": {},
    "everything": EVERYTHING,
    "volumes": {"storage": {"enabled": True, "kind": "volumes"}},
}


@pytest.fixture(scope="module", params=GIVEN)
def objects(request: pytest.FixtureRequest, here: Namespace) -> Objects:
    rendered = Helm.found().objects(GIVEN[request.param], "--namespace", here.name)
    return Objects(each for each in rendered if each["kind"] not in FOREIGN)


def as_pod(component: str, template: dict[str, Any]) -> dict[str, Any]:
    """A pod as its controller would make it."""
    spec = {**template["spec"]}
    spec.pop("priorityClassName", None)  # the class is not there in a dry run
    claimed = [{"name": "data", "emptyDir": {}}] if component == "postgres" else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": component},
        "spec": {**spec, "volumes": spec["volumes"] + claimed},
    }


def test_the_cluster_takes_every_object_without_a_warning(
    here: Namespace, objects: Objects
) -> None:
    done = here.kubectl("apply", "--dry-run=server", "--filename=-", given=objects)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


def test_the_restricted_standard_lets_every_pod_in(here: Namespace, objects: Objects) -> None:
    accounts = [each for each in objects if each["kind"] == "ServiceAccount"]
    here.do("apply", "--filename=-", given=accounts)
    pods = [as_pod(component, template) for component, template in objects.pods().items()]
    done = here.kubectl("create", "--dry-run=server", "--filename=-", given=pods)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
