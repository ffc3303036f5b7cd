"""Limits of members."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.tables import MemberLimitRow
from dachub.model.allocations import MemberLimit
from dachub.model.usage import Resource


def latest_limits(groups: Collection[str] | None) -> Select[Any]:
    """The last limit of each person, group (all: ``None``) and resource, lifted ones too."""
    columns = MemberLimitRow.__table__.columns
    key = (columns["group"], columns["username"], columns["resource"])
    latest = select(*columns).ext(distinct_on(*key)).order_by(*key, columns["limit_id"].desc())
    return latest if groups is None else latest.where(columns["group"].in_(groups))


class LimitStore:
    """Appends limits of members; the last one of a person, group and resource counts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        group: str,
        username: str,
        resource: Resource,
        amount: int | None,
        *,
        reason: str,
        author: str,
        at: datetime,
    ) -> MemberLimit:
        """Append a limit; ``None`` lifts it."""
        values = {
            "group": group,
            "username": username,
            "resource": resource.value,
            "amount": amount,
            "reason": reason,
            "author": author,
            "at": at,
        }
        limit_id = await self._session.scalar(
            insert(MemberLimitRow).values(**values).returning(MemberLimitRow.limit_id)
        )
        return MemberLimit.model_validate({**values, "limit_id": limit_id})

    async def in_force(self, groups: Collection[str] | None) -> list[MemberLimit]:
        """Limits of members of groups (all: ``None``) that count now, by group and person."""
        rows = await self._session.execute(latest_limits(groups))
        found = [MemberLimit.model_validate(dict(row)) for row in rows.mappings()]
        return [limit for limit in found if limit.amount is not None]

    async def history(self, group: str) -> list[MemberLimit]:
        """All limits there ever were in a group, the latest first."""
        columns = MemberLimitRow.__table__.columns
        rows = await self._session.execute(
            select(*columns).where(columns["group"] == group).order_by(columns["limit_id"].desc())
        )
        return [MemberLimit.model_validate(dict(row)) for row in rows.mappings()]
