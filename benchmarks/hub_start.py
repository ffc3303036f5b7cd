"""How long a hub takes to start, and what it needs, where 3,000 servers run and 10,000 people are.

The same database, pods and routes for dachub's hub and for JupyterHub as it comes; in turns, the
first of each not counted. dachub's outbox has an open session for each server, and its service
compares hub and ledger as ever. HUB_START_PEOPLE and HUB_START_SERVERS set the size,
HUB_START_ROUNDS how many starts count.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import kubernetes_asyncio
from jupyterhub import orm
from jupyterhub.utils import utcnow
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from tests.harness.platform import free_port
from tests.harness.waiting import until

from benchmarks.pod_hub import (
    GROUP,
    MILLI_CORES,
    Accounts,
    PodHub,
    accounts,
    names,
    remember_people,
)
from benchmarks.report import Row
from benchmarks.simulated import PODS_OF_A_MACHINE, Machines, machines, server_pod
from dachub.hub.clock import now
from dachub.hub.cluster.leftovers import SESSION_LABEL
from dachub.hub.outbox import Outbox
from dachub.model.sessions import SessionDescription, new_session_id

PEOPLE = int(os.environ.get("HUB_START_PEOPLE", "10000"))
SERVERS = int(os.environ.get("HUB_START_SERVERS", "3000"))
ROUNDS = int(os.environ.get("HUB_START_ROUNDS", "3"))
WATCHED_SECONDS = 100
"""Long enough for all that the plugin does again and again, refreshing claims too."""
AT_ONCE = 24
INITIALIZED = re.compile(r"Initialized \d+ spawners in [\d.]+ seconds")


@dataclass(slots=True)
class Measured:
    """Starts of one hub."""

    serves: list[float] = field(default_factory=list)
    knows: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    afterwards: float = 0
    slowest: float = 0
    ends: float = 0


def run() -> list[Row]:
    """Time, processor and memory of starts, and what the hub needs in the time after."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        count = -(-SERVERS // PODS_OF_A_MACHINE)
        here = ends.enter_context(machines("dachub-hub-start", count))
        sessions = _sessions()
        asyncio.run(_make_pods(here, sessions))
        hub_port = free_port()
        known = ends.enter_context(accounts(PEOPLE, hub_port))
        ours = PodHub(directory, here, known.service, hub_port=hub_port)
        plain = PodHub(directory, here)
        for hub in (ours, plain):
            ends.callback(hub.close)
            hub.start_proxy()
            hub.start()
            hub.until_served()  # makes its database
            hub.stop()
            _fill(hub, here, sessions)
        asyncio.run(_remember(ours, sessions))
        measured = {hub: Measured() for hub in (ours, plain)}
        for number in range(ROUNDS + 1):
            for hub in (ours, plain) if number % 2 else (plain, ours):
                last = number == ROUNDS
                _start(hub, measured[hub] if number else Measured(), watched=last)
                if number == 0 and hub is ours:
                    _until_told(known)
                hub.stop()
        for hub in (ours, plain):
            hub.start()
            hub.until_served()
            measured[hub].ends = hub.stop()
        wrong = known.sessions("ended_at is not null")
    return _rows(measured[ours], measured[plain], wrong)


def _sessions() -> list[SessionDescription]:
    at = now() - timedelta(hours=1)
    return [
        SessionDescription(
            session_id=new_session_id(),
            username=username,
            group=GROUP,
            server_name="",
            size="small",
            environment="tiny",
            image=None,
            milli_cores=MILLI_CORES,
            memory_bytes=1024**3,
            gpus=0,
            requested_at=at,
        )
        for username in names(SERVERS)
    ]


async def _make_pods(here: Machines, sessions: Sequence[SessionDescription]) -> None:
    """Make the servers' pods, many at once."""
    await kubernetes_asyncio.config.load_kube_config()
    few = asyncio.Semaphore(AT_ONCE)
    async with kubernetes_asyncio.client.ApiClient() as client:
        api = kubernetes_asyncio.client.CoreV1Api(client)

        async def make(number: int, session: SessionDescription) -> None:
            labels = {
                "component": "singleuser-server",
                "app": "jupyterhub",
                SESSION_LABEL: str(session.session_id),
            }
            machine = here.names[number // PODS_OF_A_MACHINE]
            made = server_pod(f"jupyter-{session.username}", machine, here, labels)
            async with few:
                await api.create_namespaced_pod(here.here.name, made)

        await asyncio.gather(*(make(*each) for each in enumerate(sessions)))
    until(lambda: _running(here) == len(sessions), "all pods run", 300, pause_seconds=2)


def _running(here: Machines) -> int:
    names = here.here.do("get", "pods", "--field-selector=status.phase=Running", "--output=name")
    return len(names.split())


def _fill(hub: PodHub, here: Machines, sessions: Sequence[SessionDescription]) -> None:
    """Put people and running servers into the hub's database."""
    engine = create_engine(hub.database)
    with Session(engine) as db:
        role = db.scalars(select(orm.Role).where(orm.Role.name == "user")).one()
        people = {name: orm.User(name=name, roles=[role]) for name in names(PEOPLE)}
        db.add_all(people.values())
        for session in sessions:
            at = utcnow(with_tz=False)
            name = session.username
            server = orm.Server(
                proto="http", ip="127.0.0.1", port=here.port, base_url=f"/user/{name}/",
                cookie_name="cookie",
            )  # fmt: skip
            db.add(
                orm.Spawner(
                    user=people[name],
                    name="",
                    server=server,
                    started=at,
                    last_activity=at,
                    state=_state(hub, here, session),
                )
            )
        db.commit()
    engine.dispose()


def _state(hub: PodHub, here: Machines, session: SessionDescription) -> dict[str, Any]:
    pod_name = f"jupyter-{session.username}"
    state = {
        "pod_name": pod_name,
        "namespace": here.here.name,
        "dns_name": f"{pod_name}.{here.here.name}",
        "kubespawner_version": "7",
    }
    if hub.name == "dachub":
        state["session"] = session.model_dump(mode="json")
        state["started_at"] = session.requested_at.isoformat()
    return state


async def _remember(hub: PodHub, sessions: Sequence[SessionDescription]) -> None:
    """Put open sessions and people into the outbox."""
    outbox = Outbox(hub.outbox)
    await remember_people(outbox, PEOPLE)
    await asyncio.gather(*(outbox.requested(session) for session in sessions))
    await asyncio.gather(*(outbox.started(one, one.requested_at) for one in sessions))
    await outbox.close()


def _until_told(known: Accounts) -> None:
    """Wait until the ledger has all sessions, so that their delivery is in no later start."""
    until(lambda: known.sessions("started_at is not null") == SERVERS, "the ledger knows", 300)


def _start(hub: PodHub, measured: Measured, *, watched: bool) -> None:
    already = hub.log.stat().st_size
    begun = time.perf_counter()
    hub.start()
    hub.until_served()
    measured.serves.append(time.perf_counter() - begun)
    until(lambda: _says(hub.log, already, INITIALIZED), "all servers are known", 300)
    measured.knows.append(time.perf_counter() - begun)
    measured.processor.append(hub.cpu_seconds)
    assert hub.running_servers == SERVERS
    measured.peak.append(hub.peak_bytes / 2**20)
    if watched:
        before, end = hub.cpu_seconds, time.perf_counter() + WATCHED_SECONDS
        while time.perf_counter() < end:
            asked = time.perf_counter()
            hub.until_served()
            measured.slowest = max(measured.slowest, time.perf_counter() - asked)
            time.sleep(0.2)
        measured.afterwards = 100 * (hub.cpu_seconds - before) / WATCHED_SECONDS


def _says(log: Path, already: int, what: re.Pattern[str]) -> bool:
    with log.open(errors="replace") as lines:
        lines.seek(already)
        return any(what.search(line) for line in lines)


def _rows(ours: Measured, plain: Measured, wrong: int) -> list[Row]:
    name = f"hub start, {SERVERS} servers, {PEOPLE} people"
    return [
        *(
            Row(name, what, unit, median(getattr(ours, which)), median(getattr(plain, which)))
            for what, which, unit in (
                ("until it serves", "serves", "s"),
                ("until it knows of every server", "knows", "s"),
                ("processor until then", "processor", "s"),
                ("memory, peak", "peak", "MiB"),
            )
        ),
        Row(name, f"processor in the {WATCHED_SECONDS} s after", "% of a core",
            ours.afterwards, plain.afterwards),
        Row(name, "slowest answer in that time", "s", ours.slowest, plain.slowest),
        Row(name, "until it ends, told so as soon as it serves", "s", ours.ends, plain.ends),
        Row(name, "sessions that ended in the ledger", "", wrong, goal="0"),
    ]  # fmt: skip
