"""When a pod failed or ended, and why: from states as a cluster of 1.37 gave them."""

from __future__ import annotations

from typing import Any

import pytest

from dachub.hub.cluster import pods
from dachub.hub.cluster.reflectors import Noted, NotedPods


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
    at = "2026-11-24T09:00:00Z"
    return {
        "terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}
    }


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
