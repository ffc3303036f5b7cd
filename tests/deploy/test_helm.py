"""Programs that deploy: found or not, watched while they run, ended when it makes no sense."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dachub.deploy.helm import Cluster, DeployFailed, WrongCluster, run
from dachub.deploy.programs import ToolMissing
from dachub.deploy.workloads import pods_now, stuck_pods, workloads

VIEW = {
    "current-context": "ours",
    "contexts": [{"name": "ours", "context": {"cluster": "one"}}],
    "clusters": [{"name": "one", "cluster": {"server": "https://10.0.0.1:6443"}}],
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directory whose files a kubectl prints, by its third argument."""
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\ncat "{tmp_path}/$1-$2-$3-$4.json" 2>/dev/null || exit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "config-view---output=json-.json").write_text(json.dumps(VIEW))
    return tmp_path


def objects(said: Path, kind: str, *items: object) -> None:
    name = f"--context=ours---namespace=dac-get-{kind}.json"
    (said / name).write_text(json.dumps({"items": list(items)}))


def test_a_program_that_lacks_is_named() -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        run("no-such-program")


def test_what_a_program_complains_of_is_told() -> None:
    with pytest.raises(DeployFailed, match="nothing there"):
        run("sh", "-c", "echo nothing there >&2; exit 4")


def test_input_reaches_a_program_that_takes_its_time() -> None:
    assert run("sh", "-c", "sleep 2.5; cat", text="the values", watch=lambda: None) == "the values"


def test_what_watches_can_end_a_program() -> None:
    def stop() -> None:
        raise DeployFailed("a pod cannot start")

    began = time.monotonic()
    with pytest.raises(DeployFailed, match="a pod cannot start"):
        run("sleep", "60", watch=stop)
    assert time.monotonic() - began < 30


def test_the_cluster_that_is_meant_is_taken(said: Path) -> None:
    cluster = Cluster.checked("ours", "https://10.0.0.1:6443/", "dac")
    assert (cluster.context, cluster.namespace) == ("ours", "dac")


@pytest.mark.parametrize(
    ("context", "server", "sentence"),
    [
        (None, None, "names no cluster"),
        ("theirs", None, "means the context 'theirs', but kubectl is turned to 'ours'"),
        ("ours", "https://10.0.0.2:6443", "leads to https://10.0.0.1:6443"),
    ],
)
def test_any_other_cluster_is_refused(
    said: Path, context: str | None, server: str | None, sentence: str
) -> None:
    with pytest.raises(WrongCluster, match=sentence):
        Cluster.checked(context, server, "dac")


def deployment(ready: int, updated: int, replicas: int, observed: int = 2) -> object:
    return {
        "metadata": {"name": "dachub", "generation": 2},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": observed,
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "replicas": replicas,
        },
    }


@pytest.mark.parametrize(
    ("one", "ready"),
    [
        (deployment(2, 2, 2), True),
        (deployment(2, 1, 3), False),
        (deployment(2, 2, 3), False),  # an old one still runs beside
        (deployment(1, 2, 2), False),
        (deployment(2, 2, 2, observed=1), False),  # of the version before
    ],
)
def test_ready_is_what_runs_in_the_newest_version_alone(
    said: Path, one: object, ready: bool
) -> None:
    objects(said, "deployments,statefulsets", one)
    (seen,) = workloads(Cluster("ours", "dac"))
    assert seen.is_ready is ready


def test_a_pod_that_cannot_start_is_told_unless_it_was_there_before(said: Path) -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
    pod = {
        "metadata": {"name": "dachub-1", "uid": "1"},
        "status": {"containerStatuses": [{"name": "service", **waiting}]},
    }
    objects(said, "pods", pod)
    cluster = Cluster("ours", "dac")
    assert stuck_pods(cluster) == ["dachub-1: ImagePullBackOff no such tag"]
    assert pods_now(cluster) == {"1"}
    assert stuck_pods(cluster, frozenset({"1"})) == []
