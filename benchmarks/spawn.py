"""What one spawn costs the hub, with and without dachub, in turns within one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.harness.visitor import Visitor

from benchmarks import sites
from benchmarks.report import Row

ROUNDS = 12
SPAWNS_IN_A_ROUND = 8
WARM_UP_SPAWNS = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one spawn and stop, in a round: means over its spawns, in seconds."""

    hub_cpu: float
    ready: float


def _round(site: sites.Site, person: Visitor, spawns: int) -> Cost:
    """Start and stop a server several times.

    The processor time of the hub includes all that it does for a spawn in the background; the time
    until ready is what the REST call takes.
    """
    ready = 0.0
    before = site.cpu_seconds()
    for _ in range(spawns):
        start = time.perf_counter()
        answer = person.start(**site.choice)
        ready += time.perf_counter() - start
        assert answer.status_code == 201, f"{site.name}: {answer.status_code} {answer.text}"
        answer = person.stop()
        assert answer.status_code == 204, f"{site.name}: {answer.status_code} {answer.text}"
    return Cost((site.cpu_seconds() - before) / spawns, ready / spawns)


def run() -> list[Row]:
    """Rounds on both sides in turns, so that what else the machine does hits both."""
    with ExitStack() as stack:
        pair = [stack.enter_context(side(1)) for side in (sites.dachub, sites.plain)]
        people = [stack.enter_context(site.visitor(site.people[0])) for site in pair]
        for site, person in zip(pair, people, strict=True):
            _round(site, person, WARM_UP_SPAWNS)
        costs: list[list[Cost]] = [[], []]
        for number in range(ROUNDS):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            for side in order:
                costs[side].append(_round(pair[side], people[side], SPAWNS_IN_A_ROUND))
    with_dachub, without = costs
    return [
        _row(
            "hub's processor time", [c.hub_cpu for c in with_dachub], [c.hub_cpu for c in without]
        ),
        _row("from request to ready", [c.ready for c in with_dachub], [c.ready for c in without]),
    ]


def _row(what: str, with_dachub: Sequence[float], without: Sequence[float]) -> Row:
    return Row(
        "spawn", what, "ms", 1000 * median(with_dachub), 1000 * median(without), goal="+2 % at most"
    )
