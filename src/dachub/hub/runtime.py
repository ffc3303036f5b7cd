"""The parts of the plugin as they live in one hub process, and the tasks that run beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from dachub.hub import meters
from dachub.hub.clock import now
from dachub.hub.cluster.progress import NewMachines
from dachub.hub.delivery import Delivery
from dachub.hub.logs import end_request
from dachub.hub.machine.leftovers import ProcessLeftovers
from dachub.hub.outbox import OpenSession, Outbox
from dachub.hub.people import Passwords, People
from dachub.hub.provider import Provider
from dachub.hub.queue import ASKED_EVERY_SECONDS, Gate, Queue
from dachub.hub.service import Service
from dachub.hub.settings import HubSettings, OpenIDSettings
from dachub.model.logfiles import is_past
from dachub.model.problems import Unavailable
from dachub.model.sessions import EndReason

log = logging.getLogger(__name__)

PRUNE_SECONDS = 86_400.0
MEASURE_SECONDS = 10.0
PEOPLE_AT_A_TIME = 50


@runtime_checkable
class HasSession(Protocol):
    """A spawner that carries a session."""

    end_reason: EndReason
    name: str
    pending: str | None

    @property
    def running_session_id(self) -> UUID | None:
        """The session, once its server answers."""

    @property
    def sign_of_life_at(self) -> datetime:
        """Up to when it is known that the server lives."""

    @property
    def ends_at(self) -> datetime | None:
        """When its time is over; ``None`` where it may go on."""

    async def poll(self) -> int | None:
        """``None`` while the server lives."""


class Leftovers(Protocol):
    """What hubs that were killed left where servers run."""

    async def end(self, session_id: UUID) -> datetime | None:
        """End what is left of a session; when it ended, or ``None`` where nothing tells."""

    async def sweep(self) -> None:
        """Remove what no session needs."""


@dataclass
class Runtime:
    """Everything the hooks of the hub need; built once by ``configure``."""

    settings: HubSettings
    outbox: Outbox
    service: Service
    people: People
    passwords: Passwords
    provider: Provider | None
    queue: Queue
    start_gate: Gate
    leftovers: Leftovers
    new_machines: NewMachines
    last_ends: dict[str, str] = field(default_factory=dict)
    """By username: why the last server ended, or nothing where its owner need not be told."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def build(cls, settings: HubSettings, starts_at_once: int) -> Runtime:
        """Wire the parts; opens no file and no connection yet."""
        outbox = Outbox(settings.state_directory / "outbox.sqlite")
        service = Service(settings.service_url)
        openid = settings.login.openid
        return cls(
            settings=settings,
            outbox=outbox,
            service=service,
            people=People(outbox, service, settings.site.contact),
            passwords=Passwords(outbox, service, settings.login),
            provider=_provider(openid) if openid else None,
            queue=Queue(service),
            start_gate=Gate(starts_at_once),
            leftovers=_leftovers(settings),
            new_machines=NewMachines(
                settings.pods.new_machine_seconds if settings.pods is not None else 0
            ),
        )

    def attach(self, app: Any) -> None:
        """Start the tasks in the loop of a hub that is about to serve."""
        for work in (
            Delivery(self.outbox, self.service).run(),
            self._end_orphans(app),
            self._every(self.settings.servers.heartbeat_seconds, lambda: self.heartbeat(app)),
            self._every(self.settings.servers.heartbeat_seconds, lambda: self.end_overdue(app)),
            self._every(
                self.settings.login.refresh_seconds / 4, lambda: self._refresh_running(app)
            ),
            self._every(ASKED_EVERY_SECONDS, self.queue.ask),
            self._every(PRUNE_SECONDS, self.prune),
            self._every(MEASURE_SECONDS, self.measure),
        ):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def forget(self, username: str, server_names: Iterable[str]) -> None:
        """Forget a person: what the hub keeps beside JupyterHub's own database."""
        await self.outbox.forget(username)
        self.last_ends.pop(username, None)
        if self.settings.machine is not None:
            directory = self.settings.machine.log_directory
            logs = [log_name(username, name) for name in server_names]
            await asyncio.to_thread(_remove, [directory / name for name in logs])

    async def prune(self) -> None:
        """Forget what was kept long enough."""
        await self.outbox.prune()
        if self.settings.machine is not None:
            directory, days = self.settings.machine.log_directory, self.settings.log_days
            await asyncio.to_thread(_remove_old, directory, days)

    async def measure(self) -> None:
        """Look at the outbox, for Prometheus."""
        try:
            meters.OUTBOX.show(await self.outbox.storage.status())
        except Unavailable:
            meters.OUTBOX.show(None)
            raise

    async def heartbeat(self, app: Any) -> None:
        """Note which servers are alive."""
        alive = {
            session_id: spawner.sign_of_life_at
            async for spawner in _spawners(app)
            if isinstance(spawner, HasSession)
            and (session_id := spawner.running_session_id) is not None
            and await spawner.poll() is None
        }
        await self.outbox.seen_alive(alive)

    async def end_overdue(self, app: Any) -> None:
        """End rescue sessions that have had their time, also those of an earlier hub."""
        at = now()
        for user in list(app.users.values()):
            for spawner in list(user.spawners.values()):
                if (
                    isinstance(spawner, HasSession)
                    and (ends_at := spawner.ends_at) is not None
                    and ends_at <= at
                    and not spawner.pending
                ):
                    await self._end_overdue(app, user, spawner)

    async def _end_overdue(self, app: Any, user: Any, spawner: HasSession) -> None:
        spawner.end_reason = EndReason.TIME_LIMIT
        try:
            await app.proxy.delete_user(user, spawner.name)
            await user.stop(spawner.name)
        except Exception:
            log.exception(
                "The rescue session of %s could not be ended; it is tried again", user.name
            )

    async def _end_orphans(self, app: Any) -> None:
        """End what a killed hub left: sessions open in our memory that this hub does not hold.

        What is left is read before the hub serves, so that no new session is taken for an old one.
        """
        left = await self.outbox.open_sessions()
        held = _held_sessions(app)
        for entry in left:
            if entry.session.session_id not in held:
                await self._end_orphan(entry)
        await self.leftovers.sweep()

    async def _end_orphan(self, entry: OpenSession) -> None:
        session = entry.session
        ended_at = await self.leftovers.end(session.session_id)
        log.warning(
            "Session %s of %s was left behind by a hub that was killed; %s",
            session.session_id,
            session.username,
            "it was ended" if ended_at else "nothing of it runs",
        )
        await self.outbox.ended(
            session,
            started_at=entry.started_at,
            at=ended_at,
            reason=EndReason.STOPPED if ended_at else EndReason.LOST,
        )

    async def _refresh_running(self, app: Any) -> None:
        """Read the claims of people with running servers again, whether or not they open a page."""
        age_seconds = self.settings.login.refresh_seconds
        for user in list(app.users.values()):
            last = getattr(user, "_auth_refreshed", None)
            if user.active and (last is None or time.monotonic() - last > age_seconds):
                end_request()  # each person's refresh is a request of its own
                await app.authenticator.refresh_and_save(user)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("A periodic task of the hub failed; it goes on")

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("A task of the hub ended", exc_info=error)


def log_name(username: str, server_name: str) -> str:
    """Name of the file with what a server says."""
    return f"{username}-{server_name}.log" if server_name else f"{username}.log"


def _remove(logs: Iterable[Path]) -> None:
    for log_file in logs:
        log_file.unlink(missing_ok=True)
        log_file.with_suffix(".log.1").unlink(missing_ok=True)


def _remove_old(directory: Path, days: int | None) -> None:
    """Delete logs of servers that nothing was written to for so long."""
    for log_file in directory.glob("*.log*"):
        with suppress(FileNotFoundError):
            if is_past(log_file.stat().st_mtime, days):
                log_file.unlink()


def _provider(openid: OpenIDSettings) -> Provider:
    return Provider(
        openid.issuer,
        openid.client_id,
        os.environ["DACHUB_OIDC_CLIENT_SECRET"],
        openid.request_timeout_seconds,
    )


def _leftovers(settings: HubSettings) -> Leftovers:
    if settings.pods is None:
        return ProcessLeftovers(settings.servers.rescue.scratch_directories)
    # Here, because a machine has no KubeSpawner.
    from dachub.hub.cluster.leftovers import PodLeftovers

    return PodLeftovers(os.environ["POD_NAMESPACE"])


async def _spawners(app: Any) -> AsyncIterator[object]:
    """All spawners; other work comes between, because thousands would keep the hub from it."""
    for number, user in enumerate(list(app.users.values())):
        for spawner in list(user.spawners.values()):
            yield spawner
        if number % PEOPLE_AT_A_TIME == 0:
            await asyncio.sleep(0)


def _held_sessions(app: Any) -> set[UUID]:
    """Sessions that the hub's own database says are its servers'; it takes care of those itself."""
    from jupyterhub import orm

    states = [
        spawner.state or {}
        for spawner in app.db.query(orm.Spawner).filter(orm.Spawner.server != None)  # noqa: E711
    ]
    return {UUID(state["session"]["session_id"]) for state in states if state.get("session")}


_current: Runtime | None = None


def set_current(runtime: Runtime) -> None:
    """Make ``runtime`` the one that hooks use."""
    global _current
    _current = runtime


def current() -> Runtime:
    """The runtime of this hub.

    Raises
    ------
    RuntimeError
        If ``configure`` did not run.
    """
    if _current is None:
        raise RuntimeError("dachub.hub.configure(c) must run before the hub starts")
    return _current
