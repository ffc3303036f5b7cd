"""200 people log in at 2 a second, start servers, and leave tabs open that go on polling."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from benchmarks import sites
from benchmarks.report import Row, percentile

PEOPLE = 200
LOGINS_PER_SECOND = 2.0
TAB_POLL_SECONDS = 10.0
# What an open JupyterLab asks for again and again.
TAB_PATHS = ("api/kernels", "api/sessions", "api/terminals")
# Every second person's server stops while the tab stays open: its polls then reach the hub.
ABANDON_AFTER_SECONDS = 15.0
LAST_TABS_SECONDS = 30.0
START_LIMIT_SECONDS = 120.0


@dataclass(slots=True)
class Measured:
    """What the people saw and what it cost the hub."""

    login_seconds: list[float] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)
    poll_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    hub_cpu_seconds: float = 0.0
    hub_memory_bytes: int = 0
    seconds: float = 0.0


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, site: sites.Site, username: str, measured: Measured) -> None:
        self._site = site
        self._username = username
        self._measured = measured
        self._http = aiohttp.ClientSession(
            site.url,
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # which only means: of an IP address
            timeout=aiohttp.ClientTimeout(total=START_LIMIT_SECONDS),
        )

    async def live(self, abandons: bool, until: float) -> None:
        """Log in, start a server, leave the tab open until the end."""
        async with self._http:
            try:
                await self._login()
                await self._start()
                abandoned_at = time.monotonic() + ABANDON_AFTER_SECONDS
                while time.monotonic() < until:
                    await asyncio.sleep(TAB_POLL_SECONDS)
                    if abandons and time.monotonic() > abandoned_at:
                        abandons = False
                        await self._stop()
                    await self._poll()
            except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
                self._measured.errors.append(f"{self._username}: {type(error).__name__} {error}")

    async def _login(self) -> None:
        start = time.perf_counter()
        await self._request("GET", "/hub/login")
        status, path = await self._request(
            "POST",
            "/hub/login?next=%2Fhub%2Fhome",
            data={
                "username": self._username,
                "password": self._site.password,
                "_xsrf": self._xsrf(),
            },
        )
        assert (status, path) == (200, "/hub/home"), f"login: {status} {path}"
        self._measured.login_seconds.append(time.perf_counter() - start)

    async def _start(self) -> None:
        start = time.perf_counter()
        status, path = await self._request("GET", "/hub/spawn")
        if self._site.choice:  # there is a form to fill in
            assert (status, path) == (200, "/hub/spawn"), f"form: {status} {path}"
            form = {**self._site.choice, "_xsrf": self._xsrf()}
            status, path = await self._request("POST", "/hub/spawn", data=form)
        assert status == 200, f"start: {status} {path}"
        progress = f"/hub/api/users/{self._username}/server/progress"
        async with self._http.get(progress, params={"_xsrf": self._xsrf()}) as stream:
            assert stream.status == 200, f"progress: {stream.status}"
            told = (await stream.read()).decode()
        assert '"ready": true' in told, f"progress: {told}"
        status, path = await self._request("GET", f"/user/{self._username}/")
        assert status == 200, f"server: {status} {path}"
        self._measured.start_seconds.append(time.perf_counter() - start)

    async def _stop(self) -> None:
        status, _ = await self._request(
            "DELETE",
            f"/hub/api/users/{self._username}/server",
            headers={"X-XSRFToken": self._xsrf(), "Referer": f"{self._site.url}/hub/home"},
        )
        assert status in {202, 204}, f"stop: {status}"

    async def _poll(self) -> None:
        for path in TAB_PATHS:
            start = time.perf_counter()
            status, _ = await self._request("GET", f"/user/{self._username}/{path}")
            self._measured.poll_seconds.append(time.perf_counter() - start)
            # The hub answers 424 for a server that is gone; anything above is its own fault.
            assert status < 500, f"poll: {status}"

    async def _request(self, method: str, path: str, **arguments: Any) -> tuple[int, str]:
        """Status and path of the page where one ends up."""
        async with self._http.request(method, path, **arguments) as answer:
            await answer.read()
            return answer.status, answer.url.path

    def _xsrf(self) -> str:
        """The XSRF token the hub gave last."""
        cookies = self._http.cookie_jar.filter_cookies(URL(self._site.url) / "hub/")
        return cookies["_xsrf"].value


async def _storm(site: sites.Site) -> Measured:
    measured = Measured()
    begin, cpu = time.monotonic(), site.cpu_seconds()
    until = begin + len(site.people) / LOGINS_PER_SECOND + LAST_TABS_SECONDS

    async def watch() -> None:
        while True:
            measured.hub_memory_bytes = max(measured.hub_memory_bytes, site.memory_bytes())
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for number, username in enumerate(site.people):
            await asyncio.sleep(max(0, begin + number / LOGINS_PER_SECOND - time.monotonic()))
            group.create_task(Person(site, username, measured).live(number % 2 == 1, until))
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    measured.seconds = time.monotonic() - begin
    measured.hub_cpu_seconds = site.cpu_seconds() - cpu
    return measured


def run(people: int = PEOPLE) -> list[Row]:
    """The same storm on both sides, one after the other."""
    results = []
    for side in (sites.dachub, sites.plain):
        with side(people) as site:
            results.append(asyncio.run(_storm(site)))
            for error in results[-1].errors[:10]:
                print(f"storm on {site.name}: {error}")
    with_dachub, without = results

    def row(what: str, unit: str, goal: str = "", **values: float) -> Row:
        return Row(f"{people} logins at {LOGINS_PER_SECOND:g}/s", what, unit, goal=goal, **values)

    def seconds(what: str, pick: str, percent: int) -> Row:
        return row(
            what,
            "s",
            dachub=percentile(getattr(with_dachub, pick), percent),
            plain=percentile(getattr(without, pick), percent),
        )

    return [
        seconds("login, p95", "login_seconds", 95),
        seconds("start, median", "start_seconds", 50),
        seconds("start, p95", "start_seconds", 95),
        seconds("poll of an open tab, p95", "poll_seconds", 95),
        row("errors", "", "0", dachub=len(with_dachub.errors), plain=len(without.errors)),
        row(
            "hub's processor, mean",
            "% of a core",
            dachub=100 * with_dachub.hub_cpu_seconds / with_dachub.seconds,
            plain=100 * without.hub_cpu_seconds / without.seconds,
        ),
        row(
            "hub's memory, peak",
            "MiB",
            dachub=with_dachub.hub_memory_bytes / 2**20,
            plain=without.hub_memory_bytes / 2**20,
        ),
    ]
