"""What became of pods and machines, second by second, as the cluster tells it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, Self

from tests.harness.cluster import Namespace

Event = tuple[str, dict[str, Any]]
Stay = tuple[float, float]

# How the cluster says that it ended a pod itself: eviction for a drain or by an autoscaler, for
# want of memory, for something more important, because of a taint, because the machine is gone.
ENDED_BY_CLUSTER = frozenset(
    {"Evicted", "Preempted", "TaintManagerEviction", "DeletingPod", "NodeNotReady"}
)


@dataclass
class Life:
    """When something was seen first and last.

    Attributes
    ----------
    placed, machine
        When it got its place, and on which machine, of a pod.
    end_asked
        From when on its end is what its person wanted.
    """

    made: float
    placed: float | None = None
    machine: str = ""
    end_asked: float | None = None
    ending: float | None = None
    gone: float | None = None


@dataclass
class Record:
    """Watches people's servers in a namespace, and the machines of a pool.

    Parameters
    ----------
    machines
        Selector of the machines.
    """

    here: Namespace
    machines: str
    _pods: dict[str, Life] = field(default_factory=dict)
    _nodes: dict[str, Life] = field(default_factory=dict)
    _displaced: set[str] = field(default_factory=set)
    _peak: int = 0

    def __enter__(self) -> Self:
        self._ends = ExitStack()
        self._watch("pods", "component=singleuser-server", self._see_pod)
        self._watch("nodes", self.machines, self._see_node)
        self._watch("events", "", self._see_event)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def note_end_asked(self, pod: str, after_seconds: float = 0) -> None:
        """From now on, or later, the end of a server is what its person wants."""
        if pod in self._pods:
            self._pods[pod].end_asked = time.monotonic() + after_seconds

    def machines_now(self) -> int:
        """How many machines there are."""
        return sum(node.gone is None for node in list(self._nodes.values()))

    def machines_peak(self) -> int:
        """How many there were at most."""
        return self._peak

    def machine_seconds(self) -> float:
        """How long all machines were there, together."""
        return sum(node.gone - node.made for node in self._nodes.values() if node.gone)

    def names(self) -> set[str]:
        """Names of all pods."""
        return set(self._pods)

    def stays(self) -> Sequence[Stay]:
        """From when to when each pod had its place."""
        return [stay for stays in self._stays_by_machine().values() for stay in stays]

    def occupied_seconds(self) -> float:
        """How long somebody was on a machine, of all machines together."""
        return sum(covered_seconds(stays) for stays in self._stays_by_machine().values())

    def last_end(self) -> float:
        """When the last pod went."""
        return max(end for _, end in self.stays())

    def last_machine_gone(self) -> float:
        """When the last machine went."""
        return max(node.gone for node in self._nodes.values() if node.gone)

    def evicted(self) -> list[str]:
        """Pods whose end began without their person's asking."""
        return [
            name
            for name, pod in self._pods.items()
            if (end := pod.ending or pod.gone) and (pod.end_asked is None or end < pod.end_asked)
        ]

    def displaced(self) -> set[str]:
        """Pods of which the cluster itself says that it ended them."""
        return self._displaced

    def waited_for_machine(self, pod: str) -> bool:
        """Whether it got its place on a machine that was not there when it was made."""
        life = self._pods[pod]
        machine = self._nodes.get(life.machine)
        return machine is not None and machine.made > life.made

    def _stays_by_machine(self) -> dict[str, list[Stay]]:
        stays: dict[str, list[Stay]] = {}
        for pod in self._pods.values():
            if pod.placed and pod.gone:
                stays.setdefault(pod.machine, []).append((pod.placed, pod.gone))
        return stays

    def _watch(self, kind: str, selector: str, see: Any) -> None:
        watch = self._ends.enter_context(
            subprocess.Popen(
                [
                    *("kubectl", f"--namespace={self.here.name}", "get", kind),
                    *(f"--selector={selector}", "--watch", "--output-watch-events"),
                    "--output=json",
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self._ends.callback(watch.terminate)
        assert watch.stdout is not None
        told = watch.stdout

        def follow() -> None:
            for kind_of_event, seen in _events(told):
                see(kind_of_event, seen, time.monotonic())

        threading.Thread(target=follow, daemon=True).start()

    def _see_pod(self, what: str, pod: dict[str, Any], at: float) -> None:
        life = self._pods.setdefault(pod["metadata"]["name"], Life(at))
        if pod["spec"].get("nodeName") and life.placed is None:
            life.placed, life.machine = at, pod["spec"]["nodeName"]
        conditions = pod["status"].get("conditions") or []
        if any(one["type"] == "DisruptionTarget" for one in conditions):
            self._displaced.add(pod["metadata"]["name"])
        if pod["metadata"].get("deletionTimestamp") and life.ending is None:
            life.ending = at
        if what == "DELETED":
            life.gone = at

    def _see_node(self, what: str, node: dict[str, Any], at: float) -> None:
        life = self._nodes.setdefault(node["metadata"]["name"], Life(at))
        if what == "DELETED":
            life.gone = at
        self._peak = max(self._peak, self.machines_now())

    def _see_event(self, _: str, event: dict[str, Any], __: float) -> None:
        pod = event["involvedObject"].get("name", "")
        if event["reason"] in ENDED_BY_CLUSTER and pod.startswith("jupyter-"):
            self._displaced.add(pod)


def covered_seconds(stays: Sequence[Stay]) -> float:
    """How long at least one of them lasted."""
    total, until_then = 0.0, float("-inf")
    for start, end in sorted(stays):
        total += max(0.0, end - max(start, until_then))
        until_then = max(until_then, end)
    return total


def _events(told: IO[str]) -> Iterator[Event]:
    """Events of a watch, one a line."""
    for line in told:
        event = json.loads(line)
        yield event["type"], event["object"]
