"""500 people at the service: two processes beside one, on the same PostgreSQL and the same cores.

So many at a time open *My usage* or are asked about for a start, one thing after the other, while
the hub's outbox tells of a session's three events again and again. Both ways in turns; the load is
made on the same machine.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import psutil
import psycopg
from itsdangerous import URLSafeTimedSerializer
from tests.conftest import Databases, running_postgres
from tests.harness.waiting import until
from tests.server.service import HUB_TOKEN, SECRETS, Service

from benchmarks import events, history
from benchmarks.report import Row, percentile
from dachub import migrations
from dachub.config import Settings
from dachub.server.factory import Process

PEOPLE = 500
AT_ONCE = 24
SEGMENTS = 50_000
WARM_UP_SECONDS = 4
TURN_SECONDS = 15
TURNS = (1, 2, 2, 1)
"""How many processes share the requests, turn by turn: what drifts meets both alike."""
KINDS = ("page", "decision", "event")
API = "/services/dac/api/v1"


def run() -> list[Row]:
    """Rates and times with two processes, beside one."""
    with running_postgres(durable=True) as url, ExitStack() as ends:
        database = Databases(url).create()
        migrations.upgrade(database)
        made = history.fill(database, SEGMENTS)
        asyncio.run(_count(database))
        hub = ends.enter_context(_hub())
        services = [ends.enter_context(_service(database, hub)) for _ in range(max(TURNS))]
        until(lambda: _checked(database), "comparison of sums", 120)
        urls = [f"http://127.0.0.1:{service.port}" for service in services]
        processes = [psutil.Process(each.process.pid) for each in services if each.process]
        seconds, processor = asyncio.run(_measure(urls, made.until, processes))
    answered = {count: sum(map(len, seconds[count].values())) for count in (2, 1)}
    rows = [
        Row("replicas", "requests, two processes beside one", "1/s",
            *(answered[count] / (TURN_SECONDS * 2) for count in (2, 1))),
        Row("replicas", "processor of the service, a request", "ms",
            *(1000 * processor[count] / answered[count] for count in (2, 1))),
    ]  # fmt: skip
    for kind, percent in itertools.product(KINDS, (50, 99)):
        both = (1000 * percentile(seconds[count][kind], percent) for count in (2, 1))
        rows.append(Row("replicas", f"{kind}, p{percent}", "ms", *both))
    return rows


async def _count(database: str) -> None:
    """Make the sums of usage, as they are where the ledger was written by events."""
    process = Process.connect(Settings(), database)
    async with process.factory() as services:
        await services.ledger().rebuild_usage_days()
    await process.close()


async def _measure(
    urls: Sequence[str], now: datetime, processes: Sequence[psutil.Process]
) -> tuple[dict[int, dict[str, list[float]]], dict[int, float]]:
    """By how many processes answered: seconds of each request by what was asked, and processor."""
    processor: dict[int, float] = dict.fromkeys(TURNS, 0.0)
    seconds: dict[int, dict[str, list[float]]] = {
        count: {kind: [] for kind in KINDS} for count in set(TURNS)
    }
    batches = iter(events.batches(300_000, 3, now))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        for count in TURNS:
            crowd = Crowd(http, urls[:count], batches, seconds[count])
            await crowd.act(WARM_UP_SECONDS, keep=False)
            before = _used(processes)
            await crowd.act(TURN_SECONDS, keep=True)
            processor[count] += _used(processes) - before
    return seconds, processor


def _used(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in processes))


class Crowd:
    """People who do one thing after the other, spread over the processes as a balancer does."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: Sequence[str],
        batches: Iterator[events.Batch],
        seconds: dict[str, list[float]],
    ) -> None:
        self._http = http
        self._next_url = itertools.cycle(urls)
        self._batches = batches
        self._seconds = seconds
        self._signer = URLSafeTimedSerializer(SECRETS[2], salt="session")

    async def act(self, seconds: float, *, keep: bool) -> None:
        """Let so many act at once, for a while, and the hub beside them."""
        until = time.perf_counter() + seconds
        people = (self._person(random.Random(number), until, keep) for number in range(AT_ONCE))
        await asyncio.gather(*people, self._outbox(until, keep))

    async def _person(self, chance: random.Random, until: float, keep: bool) -> None:
        while time.perf_counter() < until:
            kind, act = chance.choice((("page", self._page), ("decision", self._decision)))
            with self._timed(kind, keep):
                await act(next(self._next_url), chance.randrange(PEOPLE))

    async def _outbox(self, until: float, keep: bool) -> None:
        while time.perf_counter() < until:
            with self._timed("event", keep):
                await self._event(next(self._next_url))

    @contextmanager
    def _timed(self, kind: str, keep: bool) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        if keep:
            self._seconds[kind].append(time.perf_counter() - begun)

    async def _page(self, url: str, person: int) -> None:
        cookie = self._signer.dumps(f"user-{person}")
        async with self._http.get(
            f"{url}/services/dac/", headers={"Cookie": f"dachub-session={cookie}"}
        ) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            assert "<h1>My usage" in text, text

    async def _decision(self, url: str, person: int) -> None:
        choice = {"group": f"group-{person % history.GROUPS}", "size": "small"}
        await self._post(
            f"{url}{API}/sessions/authorize", {"username": f"user-{person}", "choice": choice}
        )

    async def _event(self, url: str) -> None:
        told = [event.model_dump(mode="json") for event in next(self._batches)]
        await self._post(f"{url}{API}/events", {"events": told})

    async def _post(self, url: str, body: object) -> None:
        headers = {"Authorization": f"Bearer {HUB_TOKEN}"}
        async with self._http.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


def _checked(database: str) -> bool:
    """Whether the sums were compared, as a leader does at first, with the ledger to itself."""
    with psycopg.connect(database) as connection:
        asked = "select from worker_run where name = 'check-usage-days'"
        return connection.execute(asked).fetchone() is not None


@contextmanager
def _service(database: str, hub: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="dachub-bench-", dir="/tmp") as directory:
        # Compared once, no session is taken for lost; and five years' names need not go at once.
        once = "{quota: {reconcile_seconds: 3600}, privacy: {sessions_days: 3650}}"
        service = Service(Path(directory), database, hub_api_url=hub, settings=once)
        service.start()
        try:
            service.until_health(200, seconds=120)
            yield service
        finally:
            service.stop()


class _Hub(BaseHTTPRequestHandler):
    """Says that a token is the person of its name, and that nothing runs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.headers["Authorization"].removeprefix("token ")
        owner = f'{{"name": "{name}", "scopes": ["access:services"]}}'
        body = (owner if self.path.endswith("/user") else "[]").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Hubs(ThreadingHTTPServer):
    request_queue_size = 512


@contextmanager
def _hub() -> Iterator[str]:
    server = _Hubs(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hub/api"
    finally:
        server.shutdown()
