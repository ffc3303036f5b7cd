"""How the service is: what runs since when, what answers, what the workers found."""

from __future__ import annotations

import asyncio
import platform
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from dachub import __version__
from dachub.model.problems import DachubError, Unavailable
from dachub.server.errors import unavailable
from dachub.server.factory import Process

ANSWER_SECONDS = 3


class WorkerStatus(BaseModel):
    """A background worker of this process."""

    name: str
    succeeded_at: datetime | None
    outcome: str = ""
    failures: int = Field(default=0, description="Runs in a row that went wrong")
    error: str = ""


class DatabaseStatus(BaseModel):
    """The service's database."""

    answers: bool
    version: str = ""
    size_bytes: int | None = None
    connections: int | None = None


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
    workers: list[WorkerStatus] = []


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
    database, hub = await asyncio.gather(_database(process), _hub(process))
    people = running = reconciled_at = enforced = None
    if database.answers:
        async with process.factory() as services:
            if last := await services.workers().last("reconcile"):
                reconciled_at = last.succeeded_at
            enforced = await services.workers().last("enforce")
            people = await services.people().count()
            running = len(await services.sessions().running())
    workers = [
        WorkerStatus(
            name=worker.name,
            succeeded_at=worker.succeeded_at,
            outcome=worker.outcome,
            failures=worker.failures,
            error=worker.error,
        )
        for worker in process.workers.values()
    ]
    return ServiceStatus(
        healthy=database.answers and hub.answers and not any(w.failures for w in workers),
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
        workers=workers,
    )


async def _database(process: Process) -> DatabaseStatus:
    try:
        await require_answer(process)
        async with process.engine.connect() as connection:
            row = (
                await connection.execute(
                    text(
                        "select current_setting('server_version'), pg_database_size(oid),"
                        " (select count(*) from pg_stat_activity where datid = oid)"
                        " from pg_database where datname = current_database()"
                    )
                )
            ).one()
    except (Unavailable, SQLAlchemyError, OSError):
        return DatabaseStatus(answers=False)
    return DatabaseStatus(answers=True, version=row[0], size_bytes=row[1], connections=row[2])


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
