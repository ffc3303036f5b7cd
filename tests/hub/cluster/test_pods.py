"""When a pod failed or ended, and why: from states as a cluster of 1.37 gave them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import PodReflector

from dachub.hub.cluster import pods
from dachub.hub.cluster.reflectors import Noted, NotedPods

START_AT = "2026-11-24T09:00:00Z"


def pod(
    phase: str = "Running", state: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    containers = [] if state is None else [{"name": "notebook", "ready": False, "state": state}]
    return {
        "metadata": {"name": "jupyter-ada", "namespace": "dac", "uid": "1"},
        "spec": {"containers": [{"name": "notebook", "image": "registry.example.org/x:1"}]},
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    told = {"exitCode": code, "reason": reason, "message": message, "finishedAt": START_AT}
    return {"terminated": told}


def failure(of: dict[str, Any], patience_seconds: float = 0) -> pods.PodFailed | None:
    return pods._failure(of, pods._Patience(patience_seconds))


async def test_a_pod_on_its_way_has_not_failed() -> None:
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    assert failure(pod("Pending")) is None
    assert failure(pod("Pending", waiting)) is None
    assert failure(pod("Running", {"running": {}})) is None


async def test_the_last_words_of_a_server_that_ended_are_kept() -> None:
    failed = failure(pod("Failed", ended(75, message='{"error": 28}')))
    assert failed is not None
    assert (failed.exit_code, failed.said) == (75, '{"error": 28}')


async def test_a_server_that_used_too_much_memory_is_told_so() -> None:
    failed = failure(pod("Failed", ended(137, "OOMKilled")))
    assert failed is not None
    assert "more memory than its size has" in failed.message


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
async def test_an_image_that_is_not_to_be_had_ends_the_wait_but_not_at_once(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "not found"}}
    assert failure(pod("Pending", waiting), patience_seconds=60) is None
    failed = failure(pod("Pending", waiting))
    assert failed is not None
    assert "registry.example.org/x:1" in failed.message


async def test_an_evicted_pod_says_why() -> None:
    failed = failure(pod("Failed", reason="Evicted", message="The node was low on memory."))
    assert failed is not None
    assert "low on memory" in failed.message


@pytest.mark.parametrize("reason", [*pods._DISRUPTIONS, "SomethingNew"])
def test_who_took_a_pod_away_is_told(reason: str) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    assert pods._why_ended(pod(conditions=[condition]), None)


def test_each_change_of_a_pod_is_told_to_its_listener_also_that_it_is_gone() -> None:
    heard: list[tuple[str, bool]] = []
    NotedPods.listeners["jupyter-ada"] = lambda one, gone: heard.append(
        (one["status"]["phase"], gone)
    )
    try:
        noted = Noted({"dac/jupyter-ada": pod("Pending")}.items(), NotedPods._tell)
        noted["dac/jupyter-ada"] = pod("Running")
        noted.pop("dac/jupyter-ada", None)
        noted.pop("dac/jupyter-ada", None)
    finally:
        del NotedPods.listeners["jupyter-ada"]
    assert heard == [("Pending", False), ("Running", False), ("Running", True)]


@pytest.fixture
def a_pod(monkeypatch: pytest.MonkeyPatch) -> pods.Pod:
    """A spawner that has no cluster."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda _: None)
    return pods.Pod(_mock=True)


SILENT_AT = "2026-11-24T09:02:00Z"
SILENT = datetime(2026, 11, 24, 9, 2, tzinfo=UTC)
LOST_AFTER_SECONDS = 300


def seen_by_cluster(
    ready: str, containers_ready: str = "True", wanted: str | None = None, disruption: str = ""
) -> dict[str, Any]:
    """A pod that ran, as the cluster has it."""
    conditions = [
        {"type": "Ready", "status": ready, "lastTransitionTime": SILENT_AT},
        {"type": "ContainersReady", "status": containers_ready, "lastTransitionTime": START_AT},
    ]
    if disruption:
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": disruption})
    found = pod("Running", {"running": {"startedAt": START_AT}}, conditions=conditions)
    if wanted is not None:
        found["metadata"]["deletionTimestamp"] = wanted
    return found


def test_a_machine_is_silent_where_the_cluster_marked_its_pods_and_not_it_itself() -> None:
    assert pods.silent_since_of(seen_by_cluster("True")) is None
    assert pods.silent_since_of(seen_by_cluster("False")) == SILENT
    assert pods.silent_since_of(seen_by_cluster("False", containers_ready="False")) is None
    assert pods.silent_since_of(pod("Pending")) is None
    gated = seen_by_cluster("False")
    gated["spec"]["readinessGates"] = [{"conditionType": "example.org/ready"}]
    assert pods.silent_since_of(gated) is None


@pytest.mark.parametrize(
    ("found", "at", "given_up"),
    [
        (seen_by_cluster("True"), "10:00:00", False),
        (seen_by_cluster("False"), "09:06:59", False),
        (seen_by_cluster("False"), "09:07:00", True),
        # The cluster gave it up, by its own patience.
        (seen_by_cluster("False", wanted="2026-11-24T09:05:00Z"), "09:04:59", False),
        (seen_by_cluster("False", wanted="2026-11-24T09:05:00Z"), "09:05:00", True),
        # It is to end and does not, on a machine that seems well.
        (seen_by_cluster("True", wanted="2026-11-24T09:05:00Z"), "09:05:59", False),
        (seen_by_cluster("True", wanted="2026-11-24T09:05:00Z"), "09:06:00", True),
        # Its machine came back and told how it ended: nothing is in doubt.
        (pod("Failed", ended(137)), "10:00:00", False),
    ],
)
def test_a_server_is_given_up_when_its_machine_was_silent_for_too_long(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], at: str, given_up: bool
) -> None:
    monkeypatch.setattr(pods, "now", lambda: datetime.fromisoformat(f"2026-11-24T{at}Z"))
    assert pods._is_given_up(found, LOST_AFTER_SECONDS) is given_up


@pytest.mark.parametrize(
    ("found", "lost_at", "said"),
    [
        (seen_by_cluster("False"), SILENT, "was lost at 09:02 UTC"),
        (seen_by_cluster("True", disruption="DeletionByPodGC"), None, "was lost. Your files"),
    ],
)
def test_a_pod_that_goes_with_its_machine_says_when_that_was_lost(
    a_pod: pods.Pod, found: dict[str, Any], lost_at: datetime | None, said: str
) -> None:
    a_pod._changed(found, gone=True)
    assert (a_pod.machine_lost, a_pod.vouched_until, a_pod.died_at) == (True, lost_at, None)
    assert said in a_pod.why_ended


def test_what_a_machine_that_came_back_told_of_the_end_counts(a_pod: pods.Pod) -> None:
    evicted = seen_by_cluster("False", "False", disruption="DeletionByTaintManager")
    evicted["status"]["containerStatuses"][0]["state"] = ended(143)
    a_pod._changed(evicted, gone=True)
    assert (a_pod.machine_lost, a_pod.died_at) == (False, datetime.fromisoformat(START_AT))


def test_an_end_that_was_asked_for_is_not_the_machines(a_pod: pods.Pod) -> None:
    a_pod._changed(seen_by_cluster("True", wanted=SILENT_AT), gone=True)
    assert not a_pod.machine_lost


async def test_the_hub_asks_again_for_ever_when_the_cluster_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up: list[int] = []
    watcher = NotedPods.__new__(NotedPods)
    watcher._stopping = False

    async def gives_up(self: NotedPods) -> None:
        given_up.append(1)
        self._stopping = len(given_up) == 3

    monkeypatch.setattr(ResourceReflector, "_watch_and_update", gives_up)
    await watcher._watch_and_update()
    assert len(given_up) == 3


async def test_a_pod_that_went_unheard_is_vouched_for_up_to_when_the_cluster_last_answered(
    monkeypatch: pytest.MonkeyPatch, a_pod: pods.Pod
) -> None:
    listed: list[dict[str, dict[str, Any]]] = [{"dac/jupyter-ada": pod("Running")}, {}]
    watcher = NotedPods.__new__(NotedPods)

    async def lists(self: NotedPods, _: str | None = None) -> str:
        self.resources = listed.pop(0)
        return "1"

    monkeypatch.setattr(PodReflector, "_list_and_update", lists)
    monkeypatch.setattr(pods.Pod, "pod_reflector", watcher)
    monkeypatch.setitem(NotedPods.listeners, "jupyter-ada", a_pod._changed)
    await watcher._list_and_update()
    watcher.heard_at = SILENT  # and then nothing, for long
    await watcher._list_and_update()
    assert (a_pod.machine_lost, a_pod.vouched_until) == (False, SILENT)
    assert watcher.heard_at > SILENT
