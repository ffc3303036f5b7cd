"""The service's database: engine, sessions, and the base of all tables."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, cast

from psycopg import AsyncConnection
from sqlalchemy import AdaptedConnection, DateTime, MetaData, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase

from dachub.infra.personal import Personal

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of every table; all times are ``timestamptz`` in UTC."""

    personal: ClassVar[Personal]
    """What the table holds of people; every table states it."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012


_SERVER = {
    "timezone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    # Our statements are short, but over a large ledger long ones are expected: compiling one, or
    # starting helpers for it, took longer than most of them.
    "jit": "off",
    "max_parallel_workers_per_gather": 0,
    # So much as a year's sums of all people need to be added up without sorting them on disk.
    "work_mem": "16MB",
    # A stream is read to its end, so it is not planned for having the first rows soon.
    "cursor_tuple_fraction": 1,
    # What one of us held is let go soon after its machine was cut off, not in hours.
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": "60s",
}
"""How PostgreSQL is to treat our connections."""


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Engine for ``url`` (``postgresql://...``), in UTC, with time limits on waiting.

    A connection that died with the server is noticed before it is used, by its socket: asking the
    server would be three questions, as many as half a decision on a start.
    """
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        pool_use_lifo=True,  # the last one used knows our statements
        pool_timeout=10,
        hide_parameters=True,  # in what is raised, and so logged: hashes, addresses, reasons
        connect_args={
            "connect_timeout": 5,
            # A network that hangs breaks the connection, which would otherwise wait for hours.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "options": " ".join(f"-c {name}={value}" for name, value in _SERVER.items()),
        },
    )
    event.listen(engine.sync_engine, "checkout", _require_alive)
    return engine


def _require_alive(connection: AdaptedConnection, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection whose server has gone: an idle one has nothing to read."""
    driver = cast("AsyncConnection[Any]", connection.driver_connection)
    if driver.closed or _has_something_to_read(driver.fileno()):
        raise DisconnectionError


def _has_something_to_read(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


SessionMaker = async_sessionmaker[AsyncSession]


def session_maker(engine: AsyncEngine) -> SessionMaker:
    """Maker of sessions whose objects stay usable after commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(
    sessions: SessionMaker, *, snapshot: bool = False
) -> AsyncIterator[AsyncSession]:
    """One session in one transaction: committed at the end, rolled back on any error.

    With ``snapshot`` all its statements see the database as it was at the first.
    """
    async with sessions() as session, session.begin():
        if snapshot:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session
