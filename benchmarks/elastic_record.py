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


@dataclass
class Life:
    """When something was seen first and last.

    Attributes
    ----------
    placed
        When it got its place on a machine, of a pod.
    unplaceable
        Whether the scheduler found no machine for it at first.
    end_asked
        When its person asked for its end.
    """

    made: float
    placed: float | None = None
    unplaceable: bool = False
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
    _peak: int = 0

    def __enter__(self) -> Self:
        self._ends = ExitStack()
        self._watch("pods", "component=singleuser-server", self._see_pod)
        self._watch("nodes", self.machines, self._see_node)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def note_end_asked(self, pod: str) -> None:
        """Somebody is about to stop their server."""
        self._pods[pod].end_asked = time.monotonic()

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

    def stays(self) -> Sequence[tuple[float, float]]:
        """From when to when each pod had its place."""
        return [(pod.placed, pod.gone) for pod in self._pods.values() if pod.placed and pod.gone]

    def evicted(self) -> list[str]:
        """Pods whose end began without their person's asking."""
        return [
            name
            for name, pod in self._pods.items()
            if (end := pod.ending or pod.gone) and (pod.end_asked is None or end < pod.end_asked)
        ]

    def waited_for_machine(self, pod: str) -> bool:
        """Whether no machine had room for it at first."""
        return self._pods[pod].unplaceable

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
            life.placed = at
        conditions = pod["status"].get("conditions") or []
        if any(one.get("reason") == "Unschedulable" for one in conditions):
            life.unplaceable = True
        if pod["metadata"].get("deletionTimestamp") and life.ending is None:
            life.ending = at
        if what == "DELETED":
            life.gone = at

    def _see_node(self, what: str, node: dict[str, Any], at: float) -> None:
        life = self._nodes.setdefault(node["metadata"]["name"], Life(at))
        if what == "DELETED":
            life.gone = at
        self._peak = max(self._peak, self.machines_now())


def _events(told: IO[str]) -> Iterator[Event]:
    """Events of a watch, one a line."""
    for line in told:
        event = json.loads(line)
        yield event["type"], event["object"]
