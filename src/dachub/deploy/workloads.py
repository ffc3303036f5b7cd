"""Deployments and their like: how many of their pods are ready, and what keeps the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from dachub.deploy.helm import Cluster, DeployFailed

WORKLOADS = frozenset({"Deployment", "StatefulSet"})
READY_SECONDS = 1200
POLL_SECONDS = 2
PLATFORM = "--selector=component!=singleuser-server"
# What a container waits for that will not come by itself; an image may still come.
_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods of a kind: how many are ready and of the newest version, of how many."""

    name: str
    ready: int
    wanted: int

    @property
    def is_ready(self) -> bool:
        """Whether none is lacking."""
        return self.ready >= self.wanted

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.name} ({self.ready} of {self.wanted} ready)"


def workloads(cluster: Cluster) -> list[Workload]:
    """All in the namespace.

    Raises
    ------
    DeployFailed
    """
    return [_workload(one) for one in cluster.objects("deployments,statefulsets")]


def pods_now(cluster: Cluster) -> frozenset[str]:
    """The pods of the platform that are there, by their ids.

    Raises
    ------
    DeployFailed
    """
    return frozenset(pod["metadata"]["uid"] for pod in cluster.objects("pods", PLATFORM))


def stuck_pods(cluster: Cluster, but: frozenset[str] = frozenset()) -> list[str]:
    """Pods of the platform that will not become ready by themselves, and why.

    Parameters
    ----------
    but
        Ids of pods that do not count, such as those that were there before.

    Raises
    ------
    DeployFailed
    """
    return [
        f"{pod['metadata']['name']}: {waiting['reason']} {_why(cluster, pod, container, waiting)}"
        for pod in cluster.objects("pods", PLATFORM)
        if pod["metadata"]["uid"] not in but
        for which in ("initContainerStatuses", "containerStatuses")
        for container in pod["status"].get(which) or []
        if (waiting := container["state"].get("waiting")) and waiting.get("reason") in _STUCK
    ]


def refuse_stuck(cluster: Cluster, but: frozenset[str] = frozenset()) -> None:
    """Give up where a pod will not become ready by itself.

    Raises
    ------
    DeployFailed
    """
    if problems := stuck_pods(cluster, but):
        raise DeployFailed("Something cannot start: " + "; ".join(problems))


def await_workloads(
    cluster: Cluster,
    names: Container[str],
    say: Callable[[str], None],
    old: frozenset[str] = frozenset(),
) -> None:
    """Wait until all of these are ready, telling how far they are.

    Parameters
    ----------
    old
        Ids of pods whose troubles are not of now.

    Raises
    ------
    DeployFailed
        If they are not in time, or when a pod cannot become ready.
    """
    until = time.monotonic() + READY_SECONDS
    said = ""
    while waiting := [one for one in workloads(cluster) if one.name in names and not one.is_ready]:
        refuse_stuck(cluster, old)
        told = ", ".join(one.told for one in waiting)
        if time.monotonic() > until:
            raise DeployFailed(f"This does not become ready: {told}")
        if told != said:
            said = told
            say(f"waiting for {said}")
        time.sleep(POLL_SECONDS)


def _why(
    cluster: Cluster, pod: dict[str, Any], container: dict[str, Any], waiting: dict[str, Any]
) -> str:
    """What the cluster says; of a program that ends again and again, what that said last."""
    if waiting["reason"] != "CrashLoopBackOff":
        return str(waiting.get("message", ""))[:300]
    try:
        name = pod["metadata"]["name"]
        return cluster.kubectl(
            *("logs", name, f"--container={container['name']}", "--previous", "--tail=5")
        )[-1000:]
    except DeployFailed:
        return str(waiting.get("message", ""))[:300]


def _workload(one: dict[str, Any]) -> Workload:
    status, wanted = one.get("status", {}), one["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < one["metadata"]["generation"]:
        return Workload(one["metadata"]["name"], 0, wanted)  # of the version before
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    if status.get("replicas", 0) > wanted:  # old ones still run beside
        ready = min(ready, wanted - 1)
    return Workload(one["metadata"]["name"], ready, wanted)
