"""How the service is: what runs since when, what answers, what the workers found."""

from __future__ import annotations

import asyncio
import platform
from datetime import datetime, timedelta

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from dachub import __version__
from dachub.model.problems import DachubError, Unavailable
from dachub.server.errors import unavailable
from dachub.server.factory import Factory, Process, WorkerStatus

ANSWER_SECONDS = 3
SILENT_MAX = timedelta(seconds=30)
"""Another would have taken over from a leader long before."""


class LeaderStatus(BaseModel):
    """The process that does a kind of background work, of several replicas."""

    kind: str
    replica: str = Field(description="Name of its host, or pod")
    since: datetime
    seen_at: datetime
    stands_still: bool = Field(description="Whether it fell silent, and nobody has taken over")
    workers: list[WorkerStatus] = []


class DatabaseStatus(BaseModel):
    """The service's database."""

    answers: bool
    version: str = ""
    size_bytes: int | None = None
    connections: int | None = Field(default=None, description="Open ones, whoever's they are")
    connections_max: int | None = None


class HubStatus(BaseModel):
    """The hub, as the service sees it."""

    answers: bool
    version: str = ""
    servers: int | None = None
    error: str = ""


class ServiceStatus(BaseModel):
    """Answer to ``GET /status``."""

    healthy: bool
    version: str
    python: str
    started_at: datetime
    now: datetime
    database: DatabaseStatus
    hub: HubStatus
    people: int | None = None
    running_sessions: int | None = None
    reconciled_at: datetime | None = Field(
        default=None, description="When ledger and hub were last compared"
    )
    enforced_at: datetime | None = Field(
        default=None, description="When usage was last held against allocations"
    )
    enforcement: str = Field(default="", description="What that found, or why it is held")
    enforcement_held: bool = Field(
        default=False, description="Whether nothing is enforced because figures are in doubt"
    )
    leaders: list[LeaderStatus] = Field(
        default=[], description="Who does the background work, and how it goes"
    )


async def require_answer(process: Process) -> None:
    """Raise :class:`Unavailable` unless the database is ready and answers within three seconds.

    Raises
    ------
    Unavailable
    """
    process.require_database()
    try:
        async with asyncio.timeout(ANSWER_SECONDS), process.engine.connect() as connection:
            await connection.execute(text("select 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise unavailable(error) from error


async def status_of(process: Process) -> ServiceStatus:
    """Ask every part how it is; one that does not answer is told, never raised."""
    database, hub = await asyncio.gather(database_status(process), _hub(process))
    people = running = reconciled_at = enforced = None
    led: list[LeaderStatus] = []
    if database.answers:
        async with process.factory() as services:
            if last := await services.workers().last("reconcile"):
                reconciled_at = last.succeeded_at
            enforced = await services.workers().last("enforce")
            people = await services.people().count()
            running = len(await services.sessions().running())
            led = await leaders_of(services)
    return ServiceStatus(
        healthy=database.answers and hub.answers and not any(_ails(each) for each in led),
        version=__version__,
        python=platform.python_version(),
        started_at=process.started_at,
        now=process.clock.now(),
        database=database,
        hub=hub,
        people=people,
        running_sessions=running,
        reconciled_at=reconciled_at,
        enforced_at=None if enforced is None else enforced.succeeded_at,
        enforcement="" if enforced is None else enforced.outcome,
        enforcement_held=enforced is not None and not enforced.is_clean,
        leaders=led,
    )


async def leaders_of(services: Factory) -> list[LeaderStatus]:
    """Who does the background work, and how it goes, whichever process is asked."""
    now = services.clock.now()
    return [
        LeaderStatus(
            kind=leader.kind,
            replica=leader.replica,
            since=leader.since,
            seen_at=leader.seen_at.replace(microsecond=0),
            stands_still=now - leader.seen_at > SILENT_MAX,
            workers=leader.workers,
        )
        for leader in await services.leaders()
    ]


def _ails(leader: LeaderStatus) -> bool:
    return leader.stands_still or any(worker.failures for worker in leader.workers)


async def database_status(process: Process) -> DatabaseStatus:
    """Ask the database how it is; one that does not answer is told, never raised."""
    try:
        await require_answer(process)
        async with process.engine.connect() as connection:
            row = (
                await connection.execute(
                    text(
                        "select current_setting('server_version'), pg_database_size(oid),"
                        " (select count(*) from pg_stat_activity"
                        " where backend_type = 'client backend'),"
                        " current_setting('max_connections')::int"
                        " from pg_database where datname = current_database()"
                    )
                )
            ).one()
    except (Unavailable, SQLAlchemyError, OSError):
        return DatabaseStatus(answers=False)
    return DatabaseStatus(
        answers=True,
        version=row[0],
        size_bytes=row[1],
        connections=row[2],
        connections_max=row[3],
    )


async def _hub(process: Process) -> HubStatus:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            version = await process.hub.version()
            servers = len(await process.hub.active_servers())
    except DachubError as error:
        return HubStatus(answers=False, error=error.message)
    except TimeoutError:
        return HubStatus(answers=False, error=f"No answer within {ANSWER_SECONDS} s.")
    return HubStatus(answers=True, version=version, servers=servers)
