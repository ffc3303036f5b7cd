"""Background work of the service: each safe to kill at any moment, one active across replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum

import structlog

from dachub import migrations
from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind, WeakPassword
from dachub.model.problems import DachubError
from dachub.model.units import day_start
from dachub.notices.services import MailService
from dachub.server import firstdata
from dachub.server.auditlog import tell_audit
from dachub.server.factory import Process, Worker
from dachub.server.leading import Shift
from dachub.server.privacy import forget_people, retain
from dachub.server.retirement import tell_of_retirement
from dachub.server.sampling import storage_workers
from dachub.server.stopping import (
    end_disabled,
    notice_leavers,
    stop_due,
    stop_servers_of_disabled,
)
from dachub.storage.services import FolderService

log = structlog.get_logger(__name__)

STOPS_EVERY_SECONDS = 5
DISABLED_EVERY_SECONDS = 2
MAILS_EVERY_SECONDS = 5
FORGET_EVERY_SECONDS = 5
RETAIN_EVERY_SECONDS = 3600
AUDIT_EVERY_SECONDS = 10
RETIRE_EVERY_SECONDS = 3600
FOLDERS_EVERY_SECONDS = 10
CLEAR_SECONDS_MAX = 24 * 3600
COUNT_EVERY_SECONDS = 600
CHECK_EVERY_SECONDS = 24 * 3600
CHECK_SECONDS_MAX = 3600
DATABASE_EVERY_SECONDS = 1
BY = Principal("service:first-start", PrincipalKind.OPERATOR)


async def reconcile(process: Process) -> str:
    """Compare the ledger with the servers the hub knows; tell who must or had to stop, and why."""
    listed_at = process.clock.now()
    active = await process.hub.active_servers()
    async with process.factory() as services:
        outcome = await services.reconciler().run(active, listed_at)
    leavers = await notice_leavers(process)
    async with process.factory() as services:
        await services.maintenance().tell_stopped()
    await stop_servers_of_disabled(process, {server.username for server in active})
    return f"{outcome.summary()}; {leavers}"


async def count_days(process: Process) -> str:
    """Count running sessions up to the midnight that began today."""
    async with process.factory() as services:
        moved = await services.ledger().count_open_days()
    return f"{moved} segments counted"


async def check_days(process: Process) -> str:
    """Hold the daily sums against the segments; a difference is an error in the log."""
    async with process.factory() as services:
        differences = await services.ledger().check_usage_days()
    return f"{len(differences)} differences"


async def send_mails(process: Process) -> str:
    """Bring the mails that are due to the mail server."""
    if process.postman is None:
        return "this site sends no mails"

    @asynccontextmanager
    async def mails() -> AsyncIterator[MailService]:
        async with process.factory() as services:
            yield services.mails()

    return await process.postman.deliver(mails)


async def keep_series(process: Process) -> str:
    """Make what recurring allocations lack, and carry over what was not spent."""
    async with process.factory() as services:
        return await services.series().materialise()


async def enforce(process: Process) -> str:
    """Hold what groups use against their allocations."""
    async with process.factory() as services:
        vigil, outcome = await services.enforcement().run(process.vigil)
    process.vigil = vigil  # only now: the transaction stands
    return outcome


async def follow_memberships(process: Process) -> str:
    """Let members into their groups' folders, and nobody else."""
    return await FolderService(process.settings.storage).follow(await _members(process))


async def clear_folders(process: Process) -> str:
    """Shut who left a group out of all that is in its folder."""
    return await FolderService(process.settings.storage).clear(lambda: _members(process))


async def _members(process: Process) -> dict[str, set[str]]:
    async with process.factory() as services:
        return await services.groups().members_by_group()


def _until_midnight(process: Process) -> float:
    now = process.clock.now()
    midnight = day_start(now) + timedelta(days=1, seconds=1)
    return min(COUNT_EVERY_SECONDS, (midnight - now).total_seconds())


class Work(StrEnum):
    """Kinds of background work: not every process reaches people's files."""

    SERVICE = "service"
    STORAGE = "storage"


Works = Mapping[Work, Sequence[Worker]]


def workers_of(settings: Settings, work: Collection[Work] = tuple(Work)) -> Works:
    """The workers of some kinds of work."""
    made = {
        Work.SERVICE: service_workers(settings),
        Work.STORAGE: [*folder_workers(settings), *storage_workers(settings.storage)],
    }
    return {kind: made[kind] for kind in work}


def service_workers(settings: Settings) -> list[Worker]:
    """The background work on the database and through the hub."""
    every = settings.quota.reconcile_seconds
    shipped = (
        []
        if settings.logs.store is None
        else [Worker("audit-log", AUDIT_EVERY_SECONDS, tell_audit)]
    )
    return [
        Worker("reconcile", every, reconcile),
        Worker("count-days", COUNT_EVERY_SECONDS, count_days, _until_midnight),
        Worker("check-days", CHECK_EVERY_SECONDS, check_days, run_seconds=CHECK_SECONDS_MAX),
        Worker("series", COUNT_EVERY_SECONDS, keep_series, _until_midnight),
        Worker("enforce", settings.quota.enforce_seconds, enforce),
        Worker("stops", STOPS_EVERY_SECONDS, stop_due),
        Worker("disabled-people", DISABLED_EVERY_SECONDS, end_disabled),
        Worker("forget-people", FORGET_EVERY_SECONDS, forget_people),
        Worker("retirement", RETIRE_EVERY_SECONDS, tell_of_retirement),
        Worker("retention", RETAIN_EVERY_SECONDS, retain),
        Worker("mails", MAILS_EVERY_SECONDS, send_mails),
        *shipped,
    ]


def folder_workers(settings: Settings) -> list[Worker]:
    """The background work on groups' folders, which there are none of beside people's volumes."""
    if settings.storage.method == "volumes":
        return []
    every, day = FOLDERS_EVERY_SECONDS, CLEAR_SECONDS_MAX
    return [
        Worker("group-folders", every, follow_memberships),
        Worker("clear-folders", every, clear_folders, run_seconds=day),
    ]


class Workers:
    """Runs the background work as long as the application runs.

    Parameters
    ----------
    work
        What of it is this process's, by kind; of all processes one at a time leads a kind.
    admin_password
        The first administrator's, on a platform without people; empty where there is to be none.
    synthetic_password
        The synthetic people's, in an instance that wants some.
    """

    def __init__(
        self,
        process: Process,
        work: Works,
        *,
        admin_password: str = "",
        synthetic_password: str = "",
    ) -> None:
        self._process = process
        self._shifts = [Shift(process, kind, workers) for kind, workers in work.items()]
        self._admin_password = admin_password
        self._synthetic_password = synthetic_password

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Prepare the database, then keep all workers running; cancels them at the end."""
        self._process.database_ready = False
        ready = asyncio.Event()
        tasks = [asyncio.create_task(self._prepare(ready), name="prepare-database")]
        tasks += [asyncio.create_task(self._work(shift, ready)) for shift in self._shifts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, ready: asyncio.Event) -> None:
        """Migrate as soon as the database answers, and make what a new platform starts with."""
        failures = 0
        while True:
            try:
                revision = await asyncio.to_thread(migrations.upgrade, self._process.database_url)
                await self._first_data()
            except DachubError as error:
                log.warning("database not ready", code=error.code, reason=error.message)
            except Exception:
                log.exception("database not ready")
            else:
                self._process.database_ready = True
                ready.set()
                log.info("database ready", revision=revision)
                return
            failures += 1
            await asyncio.sleep(min(DATABASE_EVERY_SECONDS * 2 ** min(failures, 4), 10))

    async def _first_data(self) -> None:
        if not self._admin_password:
            return
        try:
            made = await firstdata.seed(
                self._process, BY, lambda: self._admin_password, self._synthetic_password
            )
        except WeakPassword as error:
            log.warning("no first administrator", code=error.code, reason=error.message)
        else:
            log.info("first data", made=made is not None)

    async def _work(self, shift: Shift, ready: asyncio.Event) -> None:
        await ready.wait()
        await shift.run()
