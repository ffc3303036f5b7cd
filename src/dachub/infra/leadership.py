"""Who leads a kind of work: one process of several, whichever dies, freezes or is cut off.

Three things together, because none is enough alone:

- **A lock of the session**, on a connection of its own, makes one the leader. It dies with the
  leader's process, and PostgreSQL ends the session of one that has said nothing for
  :data:`SILENT_SECONDS_MAX`.
- **A lease**: a leader acts for :data:`LEASE_SECONDS` from the moment it last *began* to renew
  it, by its own clock, and then stops by itself. That is shorter than the session lives without it;
  and who takes over from one that did not leave in order lets a whole lease pass first.
- **A fence**: every transaction of a leader locks its row and so commits before another has taken
  over, or not at all. It holds where clocks and timers do not: in a process that was frozen in the
  middle of its work.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from sqlalchemy import String, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal
from dachub.model.problems import DachubError

RENEW_SECONDS = 2
LEASE_SECONDS = 6
SILENT_SECONDS_MAX = 10
IDLE_SECONDS_MAX = 30
"""How long a transaction may do nothing; one of a leader that froze must not hold up the next."""

_CONNECTION = {
    "connect_timeout": 5,
    # A network that hangs breaks the connection before the lease is over.
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
    "options": f"-c timezone=UTC -c statement_timeout=4s -c lock_timeout=2s"
    f" -c idle_session_timeout={SILENT_SECONDS_MAX}s",
}


class NotLeading(DachubError):
    """Another process leads by now; whoever was at work stops."""

    code = "not-leading"
    status = 503


class LeadershipRow(Base):
    """Who leads a kind of work; there is no row once a leader has left in order."""

    __tablename__ = "leadership"
    # How the workers are now, written anew with every run.
    personal = Personal(plain=("kind", "replica", "workers"))

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    holder: Mapped[UUID]
    replica: Mapped[str] = mapped_column(String(255))
    since: Mapped[datetime]
    seen_at: Mapped[datetime]
    workers: Mapped[list[Any]] = mapped_column(JSONB)


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a kind of work, and what it last told of its workers."""

    kind: str
    replica: str
    since: datetime
    seen_at: datetime
    workers: list[Any]


async def leaders(session: AsyncSession) -> list[Leader]:
    """Who leads what, by kind."""
    rows = await session.scalars(select(LeadershipRow).order_by(LeadershipRow.kind))
    return [Leader(row.kind, row.replica, row.since, row.seen_at, row.workers) for row in rows]


@dataclass(frozen=True, slots=True)
class Term:
    """The time for which a process leads a kind of work.

    Attributes
    ----------
    after_another
        Whether the one before did not leave in order, and may not know yet that its time is over.
    """

    kind: str
    holder: UUID
    after_another: bool

    async def require(self, session: AsyncSession) -> None:
        """Keep others from taking over until the transaction of ``session`` has ended.

        Raises
        ------
        NotLeading
            If one already has.
        """
        idle = func.set_config("idle_in_transaction_session_timeout", f"{IDLE_SECONDS_MAX}s", True)
        held = await session.scalar(
            select(idle)
            .select_from(LeadershipRow)
            .where(LeadershipRow.kind == self.kind, LeadershipRow.holder == self.holder)
            # Renewing changes no key and goes on meanwhile; taking over waits.
            .with_for_update(read=True, key_share=True)
        )
        if held is None:
            raise NotLeading(f"Another process of the service has taken over the {self.kind} work.")


class Seat:
    """A process's way to the lead of one kind of work, on a connection of its own.

    All that goes wrong with the connection is raised as it comes, as ``psycopg.Error``.
    """

    def __init__(self, url: str, kind: str, replica: str) -> None:
        self._url = url
        self._kind = kind
        self._replica = replica
        self._connection: AsyncConnection[Any]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep a connection open; whatever was taken on it is given up at the end."""
        self._connection = await AsyncConnection.connect(self._url, autocommit=True, **_CONNECTION)  # type: ignore[arg-type]
        try:
            yield
        finally:
            await self._connection.close()

    async def take(self) -> Term | None:
        """Take the lead, where nobody holds it."""
        if not await self._one(
            "select pg_try_advisory_lock(hashtextextended(%s, 3))", f"lead {self._kind}"
        ):
            return None
        holder = uuid4()
        async with self._connection.transaction():
            # Waits for transactions that the one before has begun.
            before = await self._one(
                "select holder from leadership where kind = %s for update", self._kind
            )
            await self._connection.execute(
                "insert into leadership (kind, holder, replica, since, seen_at, workers)"
                " values (%s, %s, %s, date_trunc('second', now()), now(), '[]')"
                " on conflict (kind) do update set holder = excluded.holder,"
                " replica = excluded.replica, since = excluded.since, seen_at = excluded.seen_at,"
                " workers = excluded.workers",
                [self._kind, holder, self._replica],
            )
        return Term(self._kind, holder, before is not None)

    async def renew(self, term: Term, workers: list[Any]) -> None:
        """Renew the lease, and tell how the workers are.

        Raises
        ------
        NotLeading
            If another has taken over.
        """
        renewed = await self._connection.execute(
            "update leadership set seen_at = now(), workers = %s where kind = %s and holder = %s",
            [Jsonb(workers), term.kind, term.holder],
        )
        if renewed.rowcount != 1:
            raise NotLeading(f"Another process of the service has taken over the {term.kind} work.")

    async def leave(self, term: Term) -> None:
        """Leave in order: the next one need not wait."""
        await self._connection.execute(
            "delete from leadership where kind = %s and holder = %s", [term.kind, term.holder]
        )
        await self._connection.execute("select pg_advisory_unlock_all()")

    async def pause(self, seconds: float) -> None:
        """Wait, but notice at once if the connection breaks."""
        async for _ in self._connection.notifies(timeout=seconds):
            pass  # we listen to nothing: only the wait for it is of use

    def cut(self) -> None:
        """Break the connection: who waits for an answer on it waits no longer."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    async def _one(self, statement: str, *values: object) -> Any:
        found = await (await self._connection.execute(statement, values)).fetchone()
        return None if found is None else found[0]
