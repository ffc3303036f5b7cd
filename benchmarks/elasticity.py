"""A day of people who come and go, on machines that an autoscaler adds and takes away.

Needs a cluster as ``make test-k8s`` does (KUBECONFIG, Z2JH_CHART, DACHUB_TEST_TAG), and on it
Karpenter with its kwok provider and a KWOKNodeClass ``default``: machines that exist in the API
only, for whose pods something answers as a server does. They come from a node pool of this
benchmark's own, whose label and taint keep everybody else off.

ELASTICITY_SERVERS and ELASTICITY_DAY_SECONDS set how many come in how long a day,
ELASTICITY_PLACEHOLDERS how many places are kept free. Every tenth person leaves without stopping
their server: it is stopped once it was idle.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from tests.harness.cluster import Namespace, require_cluster
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import PASSWORD, Installed, installed, moment

from benchmarks.elastic_record import Record, Stay, covered_seconds
from benchmarks.report import Row, percentile

SERVERS = int(os.environ.get("ELASTICITY_SERVERS", "200"))
DAY_SECONDS = int(os.environ.get("ELASTICITY_DAY_SECONDS", "900"))
PLACEHOLDERS = int(os.environ.get("ELASTICITY_PLACEHOLDERS", "0"))
SEED = 20261124
POOL = "dachub-elasticity"
GROUP = "campaign"
MILLI_CORES, MEMORY_BYTES = 450, 1024**3
MACHINE_MILLI_CORES = 2000
MACHINES_MAX = 40
START_SECONDS = 300
# Shares of the day's arrivals by its hours: a quiet night, 9:00, after lunch, an evening.
ARRIVALS = (
    *((hour, 0.2) for hour in range(7)),
    *((7, 1.0), (8, 3.0), (9, 9.0), (10, 4.0), (11, 2.0), (12, 1.0), (13, 5.0), (14, 3.0)),
    *((15, 2.0), (16, 2.0), (17, 1.0), (18, 1.0), (19, 2.0), (20, 2.0), (21, 1.0), (22, 0.5)),
)
STAY_HOURS = (0.5, 5.0)
FORGETS_EVERY = 10
# Longer than anybody works, for nobody here tells the hub that they do.
IDLE_STOP_SECONDS = max(30, round(1.1 * STAY_HOURS[1] * DAY_SECONDS / 24))


@dataclass(frozen=True, slots=True)
class Visit:
    """When somebody comes, and how long they work, in seconds of the compressed day."""

    username: str
    at_seconds: float
    stay_seconds: float
    forgets_to_stop: bool


@dataclass(frozen=True, slots=True)
class Start:
    """How long somebody waited for a server.

    Attributes
    ----------
    failure
        Why they got none.
    """

    username: str
    seconds: float
    failure: str = ""


def visits(count: int, day_seconds: float) -> list[Visit]:
    """The same people at the same times, whenever it is run."""
    drawn = random.Random(SEED)
    hours, weights = zip(*ARRIVALS, strict=True)
    hour_seconds = day_seconds / 24
    return sorted(
        (
            Visit(
                f"u{number:03d}",
                (drawn.choices(hours, weights)[0] + drawn.random()) * hour_seconds,
                drawn.uniform(*STAY_HOURS) * hour_seconds,
                number % FORGETS_EVERY == 0,
            )
            for number in range(count)
        ),
        key=lambda visit: visit.at_seconds,
    )


def ideal_machine_seconds(stays: Sequence[Stay], places: int) -> float:
    """What machines with so many places are needed for at least.

    As many at each moment as hold all who are there then, if everybody could be moved at any time.
    """
    changes = sorted([(start, 1) for start, _ in stays] + [(end, -1) for _, end in stays])
    total, there, before = 0.0, 0, 0.0
    for at, change in changes:
        total += -(-there // places) * (at - before)
        there, before = there + change, at
    return total


def first_fit_machine_seconds(stays: Sequence[Stay], places: int) -> float:
    """What they are needed for if each goes to the first machine with room, and nobody moves."""
    machines: list[list[Stay]] = []
    for start, end in sorted(stays):
        for machine in machines:
            if sum(stay[1] > start for stay in machine) < places:
                machine.append((start, end))
                break
        else:
            machines.append([(start, end)])
    return sum(covered_seconds(machine) for machine in machines)


def run() -> list[Row]:
    """Evictions, machine-hours, and how long people wait."""
    require_cluster()
    day = visits(SERVERS, DAY_SECONDS)
    with _pool(), installed("dachub-elasticity", _settings()) as platform:
        people = _prepared(platform, [visit.username for visit in day])
        with Record(platform.here, f"karpenter.sh/nodepool={POOL}") as record:
            started = _live(people, day, record)
            if PLACEHOLDERS:  # they would keep their machines for the next day
                platform.here.do("scale", "statefulset/user-placeholder", "--replicas=0")
            until(lambda: not record.machines_now(), "all machines are gone", 300, pause_seconds=1)
        for pod in record.evicted():
            print(f"{pod} ended without being asked to", flush=True)
        return [*_rows(record, started), *_ledger(platform, record)]


def _settings() -> dict[str, Any]:
    size = {"name": "tiny", "title": "Tiny", "milli_cores": MILLI_CORES}
    servers = {
        "storage": {"type": "none"},
        "nodeSelector": {POOL: "yes"},
        "extraTolerations": [{"key": POOL, "operator": "Exists"}],
    }
    return {
        "servers": {
            "sizes": [{**size, "memory_bytes": MEMORY_BYTES}],
            "heartbeat_seconds": 30,
            "idle_stop_seconds": IDLE_STOP_SECONDS,
        },
        # As sites have it, not as tests that wait for it.
        "quota": {"reconcile_seconds": 60, "enforce_seconds": 60},
        "cluster": {
            "start_timeout_seconds": START_SECONDS,
            "machines": {"placeholders": PLACEHOLDERS, "new_machine_seconds": 20},
            "hub": {"values": {"singleuser": servers}},
        },
    }


@contextmanager
def _pool() -> Iterator[None]:
    """A pool of machines for these servers alone; it goes at the end, with its machines."""
    here = Namespace("default")
    here.do("apply", "--filename=-", given=[NODE_POOL])
    try:
        yield
    finally:
        here.do("delete", "nodepool", POOL, "--wait", "--timeout=120s")


NODE_POOL = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": POOL},
    "spec": {
        "limits": {"cpu": MACHINES_MAX * MACHINE_MILLI_CORES // 1000},
        # As the documentation has it: machines on which nobody works go, and no others.
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5s"},
        "template": {
            "metadata": {"labels": {POOL: "yes"}},
            "spec": {
                "nodeClassRef": {
                    "group": "karpenter.kwok.sh",
                    "kind": "KWOKNodeClass",
                    "name": "default",
                },
                "expireAfter": "Never",
                "requirements": [
                    {
                        "key": "karpenter.sh/capacity-type",
                        "operator": "In",
                        "values": ["on-demand"],
                    }
                ],
                "taints": [{"key": POOL, "value": "yes", "effect": "NoSchedule"}],
            },
        },
    },
}


def _prepared(platform: Installed, usernames: Sequence[str]) -> dict[str, Visitor]:
    """People with a token each, which an administrator had the hub make: no password is checked."""
    admin = platform.administrator()
    platform.dachub("group", "add", GROUP, "--title", "Campaign")
    admin.api("POST", "/users", json={"usernames": list(usernames)}).raise_for_status()
    people = {}
    for username in usernames:
        admin.service("POST", "/users", json={"username": username, "password": PASSWORD})
        member = f"/groups/{GROUP}/members/{username}"
        admin.service("PUT", member, json={"role": "member"}).raise_for_status()
        made = admin.api("POST", f"/users/{username}/tokens", json={"note": "benchmark"})
        people[username] = Visitor(platform.url, username, token=made.json()["token"])
    return people


def _live(people: dict[str, Visitor], day: Sequence[Visit], record: Record) -> list[Start]:
    """Everybody's day, each in a thread of their own."""
    begin = time.monotonic()

    def live(visit: Visit) -> Start:
        time.sleep(max(0.0, begin + visit.at_seconds - time.monotonic()))
        person, pod = people[visit.username], f"jupyter-{visit.username}"
        start = _start(person)
        if start.failure:
            record.note_end_asked(pod, -start.seconds)  # the hub ends what it gives up
        elif visit.forgets_to_stop:
            record.note_end_asked(pod, IDLE_STOP_SECONDS - start.seconds)
        else:
            time.sleep(visit.stay_seconds)
            record.note_end_asked(pod)
            with suppress(httpx.HTTPError):  # then it is stopped once it was idle
                person.stop()
        until(
            lambda: _is_gone(person),
            f"{visit.username}'s server is gone",
            IDLE_STOP_SECONDS + START_SECONDS,
            pause_seconds=2,
        )
        return start

    with ThreadPoolExecutor(len(day)) as threads:
        return list(threads.map(live, day))


def _is_gone(person: Visitor) -> bool:
    try:
        return not person.servers()
    except httpx.HTTPError:
        return False


def _start(person: Visitor) -> Start:
    asked, failure = time.monotonic(), ""
    try:
        person.start(group=GROUP, size="tiny").raise_for_status()
        until(
            lambda: person.servers().get("", {}).get("ready"),
            "the server is ready",
            START_SECONDS,
            pause_seconds=1,
        )
    except (httpx.HTTPError, AssertionError) as error:
        failure = f"{type(error).__name__}: {error}"
        print(f"{person.username} got no server: {failure}", flush=True)
    return Start(person.username, time.monotonic() - asked, failure)


def _rows(record: Record, started: Sequence[Start]) -> list[Row]:
    stays = record.stays()
    places = MACHINE_MILLI_CORES // MILLI_CORES
    used = record.machine_seconds()
    waited: dict[bool, list[float]] = {True: [], False: []}
    for start in (one for one in started if not one.failure):
        waited[record.waited_for_machine(f"jupyter-{start.username}")].append(start.seconds)
    name = "elasticity"
    return [
        Row(name, "servers", "", len(started)),
        Row(name, "starts that failed", "", sum(bool(one.failure) for one in started), goal="0"),
        Row(name, "servers ended without being asked to", "", len(record.evicted()), goal="0"),
        Row(name, "servers that the cluster says it ended", "", len(record.displaced()), goal="0"),
        Row(name, "machines at the peak", "", record.machines_peak()),
        Row(name, "machine-hours, beside first fit without moving", "h", used / 3600,
            first_fit_machine_seconds(stays, places) / 3600),
        Row(name, "machine-hours, beside what can be with moving", "h", used / 3600,
            ideal_machine_seconds(stays, places) / 3600),
        Row(name, "machine-hours with somebody there, beside first fit", "h",
            record.occupied_seconds() / 3600, first_fit_machine_seconds(stays, places) / 3600),
        Row(name, "last machine gone after the last server", "s",
            record.last_machine_gone() - record.last_end()),
        *(
            Row(name, f"start {how} a new machine, p{percent}", "s",
                percentile(waited[new], percent))
            for how, new in (("without", False), ("with", True))
            for percent in (50, 95)
        ),
    ]  # fmt: skip


def _ledger(platform: Installed, record: Record) -> list[Row]:
    """How far the ledger is from what was seen of pods, and from its own charge."""
    until(lambda: _all_ended(platform), "all sessions have ended in the ledger", 120)
    wrong = 0
    sessions = [one for one in platform.sessions() if one["started_at"]]
    for session in sessions:
        seconds = (_at(session, "ended_at") - _at(session, "started_at")).total_seconds()
        exact = session["core_seconds"] == seconds * MILLI_CORES / 1000
        wrong += not exact or session["end_is_estimate"] or session["end_reason"] != "stopped"
    lacking = len(record.names() ^ {f"jupyter-{one['username']}" for one in sessions})
    return [Row("elasticity", "sessions that are wrong or lacking", "", wrong + lacking, goal="0")]


def _all_ended(platform: Installed) -> bool:
    return all(session["ended_at"] is not None for session in platform.sessions())


def _at(session: dict[str, Any], which: str) -> datetime:
    return moment(session[which])
