"""What accounting adds to the start of a pod: pairs, one with dachub and one without, in turns.

Two hubs against the same cluster's API, each with one start at a time and nothing else to do. The
pods run on simulated machines, so that how long an image and a container take, which is the same
for both, does not hide the difference.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.harness.platform import free_port
from tests.harness.waiting import until

from benchmarks.pod_hub import GROUP, PodHub, accounts, names, running
from benchmarks.report import Row, percentile
from benchmarks.simulated import machines

PAIRS = 20
WARM_UP = 2
CHOICE = {"group": GROUP, "size": "small", "environment": "tiny"}


def run() -> list[Row]:
    """Time from request to ready, and the hub's processor, of start and stop together."""
    people = names(PAIRS + WARM_UP)
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        here = ends.enter_context(machines("dachub-pod-spawn", 1))
        hub_port = free_port()
        known = ends.enter_context(accounts(len(people), hub_port))
        ours = ends.enter_context(
            running(PodHub(directory, here, known.service, hub_port=hub_port))
        )
        plain = ends.enter_context(running(PodHub(directory, here)))
        measured: dict[PodHub, list[tuple[float, float]]] = {ours: [], plain: []}
        for hub in (ours, plain):
            hub.ask("POST", "/users", json={"usernames": people}).raise_for_status()
        for number, username in enumerate(people):
            for hub in (ours, plain) if number % 2 else (plain, ours):
                figures = _start(hub, username)
                if number >= WARM_UP:
                    measured[hub].append(figures)
        until(lambda: known.sessions("ended_at is not null") == len(people), "all are told", 60)
    return [
        row
        for index, what in enumerate(("from request to ready", "hub's processor"))
        for row in _rows(
            what, *([1000 * one[index] for one in measured[hub]] for hub in (ours, plain))
        )
    ]


def _start(hub: PodHub, username: str) -> tuple[float, float]:
    """Start and stop one server."""
    path, cpu, begun = f"/users/{username}/server", hub.cpu_seconds, time.perf_counter()
    answer = hub.ask("POST", path, json=CHOICE)
    assert answer.status_code == 201, answer.text  # which the hub answers when it is ready
    seconds = time.perf_counter() - begun
    hub.ask("DELETE", path).raise_for_status()
    until(lambda: not hub.has_servers(), f"the server of {username} is gone", 60)
    return seconds, hub.cpu_seconds - cpu


def _rows(what: str, ours: list[float], plain: list[float]) -> list[Row]:
    name, more = f"a pod, {PAIRS} pairs", [a - b for a, b in zip(ours, plain, strict=True)]
    return [
        Row(name, f"{what}, median", "ms", median(ours), median(plain)),
        *(
            Row(name, f"{what}: what a pair differs by, {which}", "ms", percentile(more, percent))
            for which, percent in (("quartile", 25), ("median", 50), ("upper quartile", 75))
        ),
    ]
