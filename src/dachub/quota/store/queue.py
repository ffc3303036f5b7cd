"""Limits of cores at once, and the permits to start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, delete, func, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.queue import CoreLimit
from dachub.quota.models import Permit
from dachub.quota.tables import CoreLimitRow, StartPermitRow

QUEUE_LOCK = 0x64616368756207
_PERMIT = tuple(field.name for field in fields(Permit))


class CoreLimitStore:
    """Appends limits of cores at once; the last one of a group, or of the site, counts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self, group: str | None, milli_cores: int | None, *, reason: str, author: str, at: datetime
    ) -> CoreLimit:
        """Append a limit; ``None`` as an amount: as configured again."""
        values = {
            "group": group, "milli_cores": milli_cores, "reason": reason, "author": author, "at": at
        }  # fmt: skip
        limit_id = await self._session.scalar(
            plain_insert(CoreLimitRow).values(**values).returning(CoreLimitRow.limit_id)
        )
        return CoreLimit.model_validate({**values, "limit_id": limit_id})

    async def in_force(self) -> dict[str | None, int]:
        """What was set for groups, and for the site (``None``), and holds now."""
        rows = await self._session.execute(_latest())
        return {group: milli_cores for group, milli_cores in rows if milli_cores is not None}

    async def history(self, group: str | None) -> list[CoreLimit]:
        """All limits there ever were of a group or of the site, the latest first."""
        columns = CoreLimitRow.__table__.columns
        rows = await self._session.execute(
            select(*columns)
            .where(columns["group"].is_not_distinct_from(group))
            .order_by(columns["limit_id"].desc())
        )
        return [CoreLimit.model_validate(dict(row)) for row in rows.mappings()]


@cache
def _latest() -> Select[Any]:
    """Asked at every decision, so made once."""
    columns = CoreLimitRow.__table__.columns
    return (
        select(columns["group"], columns["milli_cores"])
        .ext(distinct_on(columns["group"]))
        .order_by(columns["group"], columns["limit_id"].desc())
    )


class QueueStore:
    """Permits to start, in the order in which people asked."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Be the only one to give cores away until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(QUEUE_LOCK)))

    async def all(self) -> list[Permit]:
        """All permits in their order."""
        columns = StartPermitRow.__table__.columns
        rows = await self._session.execute(
            select(*(columns[name] for name in _PERMIT)).order_by(columns["number"])
        )
        return [Permit(*row) for row in rows]

    async def enter(self, permit: Permit) -> None:
        """Keep what a server asks for, at the place its person has for it, else at the end.

        The hub asks for a server only while there is none. So an older permit for it is of a start
        that came to nothing, and its place is taken over; what it was granted is given out anew.
        """
        values = {name: value for name, value in asdict(permit).items() if name != "number"}
        new = insert(StartPermitRow).values(**values)
        is_same = StartPermitRow.session_id == new.excluded.session_id
        changed = ("session_id", "group", "milli_cores", "is_rescue", "seen_at")
        await self._session.execute(
            new.on_conflict_do_update(
                index_elements=["username", "server_name"],
                set_={name: new.excluded[name] for name in changed}
                | {"granted_at": case((is_same, StartPermitRow.granted_at), else_=None)},
            )
        )

    async def seen(self, session_ids: Collection[UUID], now: datetime) -> None:
        """Note that the hub still asks for these; no moment lies in the future."""
        permit = StartPermitRow
        await self._session.execute(
            update(permit)
            .where(
                (permit.session_id == func.any(list(session_ids)))
                | (permit.seen_at > now)
                | (permit.granted_at > now)
            )
            .values(
                seen_at=now,
                granted_at=case((permit.granted_at > now, now), else_=permit.granted_at),
            )
        )

    async def grant(self, session_ids: Collection[UUID], now: datetime) -> None:
        """Give these their cores."""
        await self._session.execute(
            update(StartPermitRow)
            .where(StartPermitRow.session_id == func.any(list(session_ids)))
            .values(granted_at=now)
        )

    async def remove(self, session_ids: Sequence[UUID]) -> None:
        """Forget permits."""
        await self._session.execute(
            delete(StartPermitRow).where(StartPermitRow.session_id == func.any(list(session_ids)))
        )
