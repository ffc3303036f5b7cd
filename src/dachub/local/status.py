"""``dachub status``: what runs, since when, and how far behind anything is."""

from __future__ import annotations

import asyncio
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg
from pydantic import BaseModel

from dachub import __version__
from dachub.config import Settings
from dachub.local.layout import Layout
from dachub.local.supervision import Supervisor
from dachub.local.wiring import Endpoints
from dachub.model.problems import Unavailable
from dachub.server.factory import Process
from dachub.server.outbox import OutboxStatus, outbox_status
from dachub.server.status import LeaderStatus, leaders_of


class PartStatus(BaseModel):
    """A supervised part."""

    name: str
    state: str
    since: datetime | None
    pid: int | None


class DatabaseStatus(BaseModel):
    """The service's database."""

    answers: bool
    version: str | None = None
    size_bytes: int | None = None


class PlatformStatus(BaseModel):
    """The platform of one data directory."""

    data: Path
    running: bool
    public_url: str | None
    parts: list[PartStatus]
    versions: dict[str, str]
    database: DatabaseStatus
    outbox: OutboxStatus | None
    people: int | None = None
    running_sessions: int | None = None
    reconciled_at: datetime | None = None
    """When ledger and running servers were last compared."""
    reconciled: str = ""
    enforcement: str = ""
    """What the last look at quotas found, or why nothing is enforced."""
    enforcement_held: bool = False
    leaders: list[LeaderStatus] = []
    """Who does the background work, and how it goes."""


def platform_status(layout: Layout, settings: Settings, database_url: str) -> PlatformStatus:
    """Ask everything; what does not answer is told, never raised."""
    parts = _parts(layout)
    endpoints = Endpoints.read(layout)
    database = _database(database_url)
    status = PlatformStatus(
        data=layout.data,
        running=bool(parts) and all(part.state == "RUNNING" for part in parts),
        public_url=None if endpoints is None else endpoints.public_url,
        parts=parts,
        versions={"dachub": __version__, "python": platform.python_version()}
        | {name: _version(name) for name in ("jupyterhub", "configurable-http-proxy")}
        | ({"postgresql": database.version} if database.version else {}),
        database=database,
        outbox=outbox_status(layout.outbox),
    )
    if not database.answers:
        return status
    status = status.model_copy(update=asyncio.run(_ledger(settings, database_url)))
    if layout.config_file is None:
        return status
    # In a container there are no parts to look at: whoever does the work says that it is done.
    running = any(not leader.stands_still for leader in status.leaders)
    return status.model_copy(update={"running": running, "public_url": settings.listen.public_url})


def _parts(layout: Layout) -> list[PartStatus]:
    try:
        states = Supervisor(layout).states()
    except Unavailable:
        return []
    return [
        PartStatus(
            name=state.name,
            state=state.state,
            since=datetime.fromtimestamp(state.started_at, UTC) if state.started_at else None,
            pid=state.pid or None,
        )
        for state in states
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _database(url: str) -> DatabaseStatus:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(
                "select current_setting('server_version'), pg_database_size(current_database())"
            ).fetchone()
    except psycopg.Error:
        return DatabaseStatus(answers=False)
    if row is None:
        return DatabaseStatus(answers=False)
    return DatabaseStatus(answers=True, version=row[0].split()[0], size_bytes=row[1])


async def _ledger(settings: Settings, url: str) -> dict[str, object]:
    process = Process.connect(settings, url)
    try:
        async with process.factory() as factory:
            run = await factory.workers().last("reconcile")
            enforced = await factory.workers().last("enforce")
            return {
                "people": await factory.people().count(),
                "running_sessions": len(await factory.sessions().running()),
                "reconciled_at": None if run is None else run.succeeded_at,
                "reconciled": "" if run is None else run.outcome,
                "enforcement": "" if enforced is None else enforced.outcome,
                "enforcement_held": enforced is not None and not enforced.is_clean,
                "leaders": await leaders_of(factory),
            }
    finally:
        await process.close()
