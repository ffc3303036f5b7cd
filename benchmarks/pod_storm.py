"""Hundreds of people press start at once, on a real hub against a real cluster's API.

Their pods run on simulated machines. dachub without limits, and with a limit of cores that holds
two thirds of them, beside JupyterHub as it comes: with its limit of starts at once as Zero to
JupyterHub sets it (whom it refuses presses again when it told them to), and without. Everybody has
the page open that shows how the start goes. POD_STORM_PEOPLE sets how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from tests.harness.platform import free_port
from tests.harness.waiting import until

from benchmarks.pod_hub import (
    AUTHORIZED,
    GROUP,
    MILLI_CORES,
    PodHub,
    accounts,
    names,
    remember_people,
    running,
)
from benchmarks.report import Row, percentile
from benchmarks.simulated import PODS_OF_A_MACHINE, Machines, machines
from dachub.hub.outbox import Outbox

PEOPLE = int(os.environ.get("POD_STORM_PEOPLE", "300"))
FIT = PEOPLE * 2 // 3
ZERO_TO_JUPYTERHUB = 64  # its starts at once
PATIENCE_SECONDS = 900
REFUSED = 429
CHOICE = {"group": GROUP, "size": "small", "environment": "tiny"}
NUMBER = re.compile(r"You are number (\d+) of (\d+) in the queue: all")


@dataclass(slots=True)
class Storm:
    """What people met.

    Attributes
    ----------
    ready
        Seconds from the first press of the button, by person.
    places
        The number each was told last, of those who waited for cores.
    refused
        How often one was answered 429.
    first
        How many had a server when all others had been told a place.
    """

    ready: dict[str, float] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    first: int = 0
    errors: list[str] = field(default_factory=list)
    hub_cpu_seconds: float = 0.0
    progress: asyncio.Event = field(default_factory=asyncio.Event)


def run() -> list[Row]:
    """One storm after the other; each hub is new."""
    name = f"{PEOPLE} starts at once"
    with machines("dachub-storm", -(-PEOPLE // PODS_OF_A_MACHINE)) as here:
        free, events = _with_dachub(here)
        queued, queued_events = _with_dachub(here, concurrent_milli_cores=FIT * MILLI_CORES)
        limited = _plain(here, ZERO_TO_JUPYTERHUB)
        unlimited = _plain(here, 0)
    for storm in (free, queued, limited, unlimited):
        for error in storm.errors[:5]:
            print(error)
    return [
        *(
            Row(name, f"until ready, {what}, beside {beside}", "s", pick(free), pick(peer))
            for what, pick in (("median", _median), ("last", _last))
            for peer, beside in (
                (unlimited, "no limit"),
                (limited, f"{ZERO_TO_JUPYTERHUB} at a time"),
            )
        ),
        Row(name, f"answers 429, beside {ZERO_TO_JUPYTERHUB} at a time", "",
            free.refused + queued.refused, limited.refused, "0"),
        Row(name, "hub's processor", "s", free.hub_cpu_seconds, unlimited.hub_cpu_seconds),
        Row(name, "errors", "", len(free.errors) + len(queued.errors),
            len(limited.errors) + len(unlimited.errors), "0"),
        Row(name, "sessions in the ledger", "", events, goal=str(PEOPLE)),
        Row(name, f"cores for {FIT}: servers at first", "", queued.first, goal=str(FIT)),
        Row(name, f"cores for {FIT}: told a place", "", len(queued.places),
            goal=str(PEOPLE - FIT)),
        Row(name, f"cores for {FIT}: last, once others had stopped", "s", _last(queued)),
        Row(name, f"cores for {FIT}: sessions in the ledger", "", queued_events, goal=str(PEOPLE)),
    ]  # fmt: skip


def _median(storm: Storm) -> float:
    return percentile(list(storm.ready.values()), 50)


def _last(storm: Storm) -> float:
    return max(storm.ready.values(), default=float("nan"))


def _with_dachub(here: Machines, **quota: int) -> tuple[Storm, int]:
    """A storm with dachub, and how many sessions of it the ledger has: all of them, once each."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        hub_port = free_port()
        known = ends.enter_context(accounts(PEOPLE, hub_port, **quota))
        hub = PodHub(directory, here, known.service, hub_port=hub_port)
        asyncio.run(_remember(hub))
        ends.enter_context(running(hub))
        storm = asyncio.run(_storm(hub, FIT if quota else None))
        told = "started_at is not null"
        until(lambda: known.sessions(told) >= len(storm.ready), "the ledger has all", 120)
        asyncio.run(_stop_all(hub))
        until(lambda: known.sessions("ended_at is null") == 0, "all have ended", 300)
        return storm, known.sessions(f"{told} and not end_is_estimate")


async def _remember(hub: PodHub) -> None:
    outbox = Outbox(hub.outbox)
    await remember_people(outbox, PEOPLE)
    await outbox.close()


def _plain(here: Machines, starts_at_once: int) -> Storm:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        more = f"c.JupyterHub.concurrent_spawn_limit = {starts_at_once}\n"
        with running(PodHub(Path(directory), here, more=more)) as hub:
            storm = asyncio.run(_storm(hub, None))
            asyncio.run(_stop_all(hub))
    return storm


async def _storm(hub: PodHub, fit: int | None) -> Storm:
    """Everybody at once; where so many fit, these stop when all others have been told a place."""
    storm = Storm()
    async with _browser(hub) as http:
        await _ask(http, "POST", "/users", usernames=names(PEOPLE))
        cpu, begun = hub.cpu_seconds, time.perf_counter()
        people = [asyncio.create_task(_person(http, each, begun, storm)) for each in names(PEOPLE)]
        if fit is not None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(storm.ready) < fit or len(storm.places) < PEOPLE - fit:
                    storm.progress.clear()
                    await storm.progress.wait()
            storm.first = len(storm.ready)
            first = list(storm.ready)
            await asyncio.gather(*(_stop(http, each) for each in first[: PEOPLE - fit]))
        await asyncio.gather(*people)
        storm.hub_cpu_seconds = hub.cpu_seconds - cpu
    return storm


async def _person(http: aiohttp.ClientSession, username: str, begun: float, storm: Storm) -> None:
    """Press start, again when told to; then look at the page until the server is ready."""
    try:
        await _press(http, username, storm)
        wrong = await _watch(http, username, storm)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        wrong = f"{type(error).__name__} {error}"
    if wrong:
        storm.errors.append(f"{username}: {wrong}")
    else:
        storm.ready[username] = time.perf_counter() - begun
        storm.progress.set()


async def _press(http: aiohttp.ClientSession, username: str, storm: Storm) -> None:
    while True:
        async with http.post(f"users/{username}/server", json=CHOICE) as answer:
            await answer.read()
            if answer.status != REFUSED:
                answer.raise_for_status()
                return
        storm.refused += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))


async def _watch(http: aiohttp.ClientSession, username: str, storm: Storm) -> str:
    """Follow the page of the start to its end; what went wrong."""
    async with http.get(f"users/{username}/server/progress") as stream:
        async for line in stream.content:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            if place := NUMBER.search(event.get("message", "")):
                storm.places[username] = int(place[1])
                storm.progress.set()
            if event.get("failed"):
                return str(event["message"])
            if event.get("ready"):
                return ""
    return "the page ended before the server was ready"


async def _stop_all(hub: PodHub) -> None:
    async with _browser(hub) as http:
        await asyncio.gather(*(_stop(http, each) for each in names(PEOPLE)))
    until(lambda: not hub.has_servers(), "all servers are gone", 300, pause_seconds=1)


async def _stop(http: aiohttp.ClientSession, username: str) -> None:
    async with http.delete(f"users/{username}/server") as answer:
        await answer.read()


async def _ask(http: aiohttp.ClientSession, method: str, path: str, **body: object) -> None:
    async with http.request(method, path.lstrip("/"), json=body) as answer:
        assert answer.status < 300, await answer.text()


def _browser(hub: PodHub) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        f"{hub.api}/",
        headers=AUTHORIZED,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
    )
