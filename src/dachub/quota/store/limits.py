"""Limits of members."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Select, String, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.allocations import MemberLimit
from dachub.model.usage import Resource
from dachub.quota.tables import MemberLimitRow

GROUPS = bindparam("groups", type_=ARRAY(String))
"""Those that a statement made once is asked for."""


@cache
def latest_limits(*, of_all: bool) -> Select[Any]:
    """The last limit of each person, resource and group (all, or ``GROUPS``), lifted ones too."""
    columns = MemberLimitRow.__table__.columns
    key = (columns["group"], columns["username"], columns["resource"])
    latest = select(*columns).ext(distinct_on(*key)).order_by(*key, columns["limit_id"].desc())
    return latest if of_all else latest.where(columns["group"] == func.any(GROUPS))


LIMITS_LOCK = 0x64616368756206


class LimitStore:
    """Appends limits of members; the last one of a person, group and resource counts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, group: str, username: str) -> None:
        """Be the only one to change a member's limits until the transaction ends."""
        whose = func.hashtextextended(f"{group}/{username}", LIMITS_LOCK)
        await self._session.execute(select(func.pg_advisory_xact_lock(whose)))

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
        rows = await self._session.execute(
            latest_limits(of_all=groups is None), {"groups": list(groups or ())}
        )
        found = [MemberLimit.model_validate(dict(row)) for row in rows.mappings()]
        return [limit for limit in found if limit.amount is not None]

    async def history(self, group: str) -> list[MemberLimit]:
        """All limits there ever were in a group, the latest first."""
        columns = MemberLimitRow.__table__.columns
        rows = await self._session.execute(
            select(*columns).where(columns["group"] == group).order_by(columns["limit_id"].desc())
        )
        return [MemberLimit.model_validate(dict(row)) for row in rows.mappings()]
