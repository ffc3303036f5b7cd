"""The chart installed: it rolls without a failed request, keeps what it must, and lets few in."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness.cluster import REGISTRY, TAG, Namespace, new_namespace
from tests.harness.helm import CHART, Helm
from tests.harness.waiting import until

ASKING = Path(__file__).parent / "asking.py"
SERVICE = "app.kubernetes.io/component=service"
KEPT = {"secret/dachub", "persistentvolumeclaim/data-dachub-postgres-0"}
LEADER = r'dachub_leader_seen_timestamp_seconds{kind="service",replica="([^"]+)"}'
ALWAYS_KEPT = {f"persistentvolumeclaim/dachub-{part}" for part in ("outbox", "backup")}
PRIORITY_CLASS = "priorityclass.scheduling.k8s.io"
KINDS = (
    *("all", "secret", "configmap", "persistentvolumeclaim", "networkpolicy", "serviceaccount"),
    *("poddisruptionbudget", "role", "rolebinding"),
)
# What Kubernetes itself puts into every namespace.
OF_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
REACH = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        print(target)
    except OSError:
        pass
"""


def values(site: str = "First", **more: Any) -> dict[str, Any]:
    """A small platform whose site has this name."""
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    return {
        "config": {"site": {"name": site}},
        "image": {"registry": REGISTRY, "tag": TAG},
        "database": {
            "inside": {
                "image": {"repository": f"{REGISTRY}/postgres", "tag": TAG},
                "volume": {"size": "1Gi"},
                "resources": small,
            }
        },
        "service": {"resources": small},
        **more,
    }


class Release:
    """The release ``dachub`` in one namespace."""

    def __init__(self, helm: Helm, here: Namespace) -> None:
        self._helm, self.here = helm, here

    def helm(self, *arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
        """Run Helm on this release."""
        return self._helm.run(*arguments, "--namespace", self.here.name, values=given)

    def bring(self, given: dict[str, Any]) -> None:
        """Install or upgrade it, and wait until all is ready."""
        arguments = ("upgrade", "--install", "dachub", str(CHART), "--wait", "--timeout=5m")
        done = self.helm(*arguments, given=given)
        assert done.returncode == 0, done.stderr + self.here.do("get", "pods", "--output=wide")

    def remove(self) -> None:
        """Uninstall it, and wait until its pods are gone."""
        done = self.helm("uninstall", "dachub", "--wait")
        assert done.returncode == 0, done.stderr

    def pods(self) -> set[str]:
        """Names of the service's pods that are ready and not ending."""
        found = self.here.get("pods", f"--selector={SERVICE}")["items"]
        return {
            pod["metadata"]["name"]
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and any(each["ready"] for each in pod["status"].get("containerStatuses", []))
        }

    def sites(self) -> set[str]:
        """What the site is called in the configuration of each pod."""
        said = [self.here.do("exec", pod, "--", *SHOW) for pod in self.pods()]
        return {json.loads(each)["site"]["name"] for each in said}

    def secret(self) -> dict[str, str]:
        """All passwords and tokens."""
        kept: dict[str, str] = self.here.get("secret", "dachub")["data"]
        return {name: base64.b64decode(value).decode() for name, value in kept.items()}

    def figures(self, pod: str) -> str:
        """What a pod shows to Prometheus."""
        with self.here.forwarded(f"pod/{pod}", 8080) as address:
            page = f"{address}/services/dac/metrics"
            assert httpx.get(page).status_code in {401, 403}
            token = self.secret()["metrics-token"]
            return httpx.get(page, headers={"Authorization": f"Bearer {token}"}).text

    def leaders(self) -> list[str]:
        """Which pods do the background work, as one of them sees it."""
        pod = min(self.pods())
        return re.findall(LEADER, self.figures(pod))

    def people(self) -> str:
        """Everybody the database knows."""
        return self.here.do("exec", "deployment/dachub", "--", "dachub", "user", "list", "--json")

    def left(self) -> set[str]:
        """Everything in the namespace that the cluster did not put there."""
        return self.here.all_names(*KINDS) - OF_EVERY_NAMESPACE


SHOW = ("dachub", "config", "show", "--json")


def client(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A pod with a Python that does nothing by itself."""
    container = {
        "name": "client",
        "image": f"{REGISTRY}/dachub-service:{TAG}",
        "args": ["sleep", "infinity"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        },
    }


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    """The release, installed, with a person's pod and a stranger's beside it."""
    helm = Helm.found()
    with new_namespace("dachub-test-release") as here:
        release = Release(helm, here)
        release.bring(values())
        person = {"app": "jupyterhub", "component": "singleuser-server"}
        pods = [client("person", person), client("stranger", {})]
        here.do("create", "--filename=-", given=pods)
        here.do("wait", "--for=condition=Ready", "pod/person", "pod/stranger", "--timeout=60s")
        yield release


@contextmanager
def unbroken(release: Release) -> Iterator[None]:
    """Ask the service from a person's pod all the while; fails if one request did."""
    release.here.do("exec", "person", "--", "rm", "-f", "/tmp/stop")
    with (
        ASKING.open() as script,
        subprocess.Popen(
            ["kubectl", "-n", release.here.name, "exec", "-i", "person", "--", "python", "-"],
            stdin=script,
            stdout=subprocess.PIPE,
            text=True,
        ) as asking,
    ):
        try:
            yield
        finally:
            release.here.do("exec", "person", "--", "touch", "/tmp/stop")
        said, _ = asking.communicate(timeout=60)
    outcome = json.loads(said)
    assert outcome["asked"] > 100
    assert outcome["failed"] == {}, outcome


def test_two_replicas_come_up_and_answer_each(release: Release) -> None:
    pods = release.pods()
    assert len(pods) == 2
    for pod in pods:
        with release.here.forwarded(f"pod/{pod}", 8080) as address:
            answer = httpx.get(f"{address}/services/dac/api/v1/health")
            assert answer.json() == {"status": "ok"}


def test_the_first_administrator_is_there(release: Release) -> None:
    assert [each["username"] for each in json.loads(release.people())] == ["admin"]


def test_every_replica_shows_its_figures_to_who_has_the_token(release: Release) -> None:
    assert all("dachub_" in release.figures(pod) for pod in release.pods())


def test_an_upgrade_and_its_rollback_fail_no_request(release: Release) -> None:
    before, secret = release.pods(), release.secret()
    gone = [{"op": "remove", "path": "/data/admin-password"}]
    release.here.do("patch", "secret", "dachub", "--type=json", f"--patch={json.dumps(gone)}")
    with unbroken(release):
        release.bring(values("Second"))
    drawn = {name for name, value in release.secret().items() if value != secret[name]}
    assert drawn == {"admin-password"}
    assert release.sites() == {"Second"}
    assert not release.pods() & before
    assert release.here.all_names("job") == set()
    with unbroken(release):
        done = release.helm("rollback", "dachub", "--wait", "--timeout=5m")
        assert done.returncode == 0, done.stderr
    assert release.sites() == {"First"}
    assert release.secret() == secret


def test_a_configuration_that_dachub_refuses_leaves_the_pods_as_they_are(release: Release) -> None:
    before = release.pods()
    refused = values()
    refused["config"]["tls"] = {"certificate": "cert.pem"}  # without its key
    refused["migrate"] = {"deadlineSeconds": 60}
    done = release.helm("upgrade", "dachub", str(CHART), "--timeout=2m", given=refused)
    assert done.returncode != 0
    assert release.pods() == before
    said = release.here.do("logs", "job/dachub-migrate")
    assert "certificate and key belong together" in said
    release.bring(values())  # a good one goes through, and clears away what that left


def test_one_replica_enforces_and_another_goes_on_when_it_is_killed(release: Release) -> None:
    (leader,) = release.leaders()
    assert leader in release.pods()
    release.here.do("delete", "pod", leader, "--grace-period=0", "--force")
    (other,) = until(lambda: set(release.leaders()) - {leader}, "another one leads", 60)
    assert other in release.pods()
    release.here.do("rollout", "status", "deployment/dachub", "--timeout=120s")
    assert len(release.pods()) == 2


def test_a_drain_takes_one_replica_at_a_time(release: Release) -> None:
    def evict(pod: str) -> subprocess.CompletedProcess[str]:
        asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{release.here.name}/pods/{pod}/eviction"
        return release.here.kubectl(
            "create", "--raw", path, "--filename=-", given=json.dumps(asked)
        )

    first, second = sorted(release.pods())
    with unbroken(release):
        assert evict(first).returncode == 0
        assert "disruption budget" in evict(second).stderr
        release.here.do("rollout", "status", "deployment/dachub", "--timeout=120s")


def test_a_killed_database_comes_back_with_everything(release: Release) -> None:
    before = release.people()
    release.here.do("delete", "pod", "dachub-postgres-0", "--grace-period=0", "--force")
    release.here.do("rollout", "status", "statefulset/dachub-postgres", "--timeout=120s")
    release.here.do("rollout", "status", "deployment/dachub", "--timeout=120s")
    assert until(release.people, "the database answers", 60) == before


def test_who_reaches_whom(release: Release) -> None:
    service, database, cluster = "dachub:80", "dachub-postgres:5432", "kubernetes.default:443"

    def reached(pod: str, *targets: str) -> set[str]:
        return set(release.here.do("exec", pod, "--", "python", "-c", REACH, *targets).split())

    assert reached("person", service, database) == {service}
    assert reached("stranger", service, database) == set()
    assert reached("deployment/dachub", database, cluster) == {database}


def test_uninstalled_it_leaves_the_data_and_goes_on_with_them(release: Release) -> None:
    before, secret = release.people(), release.secret()
    release.here.do("delete", "pod", "person", "stranger")
    release.remove()
    until(lambda: release.left() == KEPT | ALWAYS_KEPT, "only the data is left", 60)
    release.bring(values())
    assert release.secret() == secret
    assert release.people() == before


@pytest.mark.parametrize("program", ["helm", "helm4"])
def test_an_instance_that_keeps_nothing_leaves_nothing_but_outbox_and_backups(program: str) -> None:
    helm = Helm.found(program)
    with new_namespace("dachub-test-kept") as here:
        release = Release(helm, here)
        given = values(keepOnUninstall=False, priority={"create": True}, replicas=1)
        release.bring(given)
        release.bring(given)
        classes = {
            f"{PRIORITY_CLASS}/{here.name}-dachub-{part}" for part in ("service", "database")
        }
        assert classes <= here.all_names("priorityclass")
        release.remove()
        until(lambda: release.left() == ALWAYS_KEPT, "nothing else is left", 60)
        assert not classes & here.all_names("priorityclass")
