"""Allocations: rows that say which they are, and the adjustments that say what they come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.usage import Adjustment, AllocationRecord, QuotaPolicy, Resource
from dachub.quota.models import Change, Grant
from dachub.quota.store.limits import GROUPS
from dachub.quota.tables import AdjustmentRow, AllocationRow

_IDENTITY = ("allocation_id", "group", "resource", "starts_at", "series_id")
_ALLOCATION, _ADJUSTMENT = AllocationRow.__table__, AdjustmentRow.__table__
# Made once, and of tables: every decision on a start asks for it, and all that is done in making it
# costs more than asking.
_RECORDS = (
    select(
        *(_ALLOCATION.c[name] for name in _IDENTITY),
        *(_ADJUSTMENT.c[name] for name in Adjustment.model_fields),
    )
    .join_from(_ALLOCATION, _ADJUSTMENT)
    .order_by(
        _ALLOCATION.c.group,
        _ALLOCATION.c.starts_at.desc(),
        _ALLOCATION.c.allocation_id.desc(),
        _ADJUSTMENT.c.adjustment_id,
    )
)
_OF_GROUPS = _RECORDS.where(_ALLOCATION.c.group == func.any(GROUPS))


class AllocationStore:
    """Adds to allocations; never changes or removes what was granted.

    Parameters
    ----------
    default
        The site's policy, for what an allocation's own leaves out.
    """

    def __init__(self, session: AsyncSession, default: QuotaPolicy) -> None:
        self._session = session
        self._default = default

    async def add(
        self, group: str, resource: Resource, starts_at: datetime, series_id: int | None = None
    ) -> int | None:
        """A new allocation, of nothing until its first change; its id.

        ``None`` if the series has made the allocation of this period before.
        """
        return await self._session.scalar(
            insert(AllocationRow)
            .values(group=group, resource=resource.value, starts_at=starts_at, series_id=series_id)
            .on_conflict_do_nothing(index_elements=["series_id", "starts_at"])
            .returning(AllocationRow.allocation_id)
        )

    async def append(self, allocation_id: int, change: Change) -> bool:
        """Append a change; ``False`` if one with its key was made before."""
        policy = change.policy
        added = await self._session.scalar(
            insert(AdjustmentRow)
            .values(
                allocation_id=allocation_id,
                amount=change.amount,
                ends_at=change.ends_at,
                policy=None if policy is None else policy.said(),
                key=change.key,
                reason=change.reason,
                author=change.author,
                at=change.at,
            )
            .on_conflict_do_nothing(index_elements=["allocation_id", "key"])
            .returning(AdjustmentRow.adjustment_id)
        )
        return added is not None

    async def lock(self, allocation_id: int) -> bool:
        """Whether there is such an allocation; it is ours until the transaction ends."""
        found = await self._session.scalar(
            select(AllocationRow.allocation_id)
            .where(AllocationRow.allocation_id == allocation_id)
            .with_for_update()
        )
        return found is not None

    async def find(self, allocation_id: int) -> AllocationRecord | None:
        """One allocation; ``used`` is left to the caller."""
        found = await self._records(_RECORDS.where(AllocationRow.allocation_id == allocation_id))
        return found[0] if found else None

    async def of_groups(self, groups: Collection[str] | None) -> list[AllocationRecord]:
        """Allocations of groups (all: ``None``), by group, the latest first."""
        if groups is None:
            return await self._records(_RECORDS)
        return await self._records(_OF_GROUPS, {"groups": list(groups)})

    async def of_series(self, series_ids: Collection[int]) -> list[AllocationRecord]:
        """What series have made, by group, the latest first."""
        return await self._records(_RECORDS.where(AllocationRow.series_id.in_(series_ids)))

    async def grants(
        self, groups: Collection[str] | None
    ) -> dict[tuple[str, Resource], list[Grant]]:
        """Allocations of groups (all: ``None``), past and future too, by their beginning."""
        grants: dict[tuple[str, Resource], list[Grant]] = {}
        for record in await self.of_groups(groups):
            grants.setdefault((record.group, record.resource), []).append(
                Grant(record.starts_at, record.ends_at, record.amount, record.rules)
            )
        return {
            key: sorted(found, key=lambda grant: (grant.since, grant.until))
            for key, found in grants.items()
        }

    async def _records(
        self, statement: Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[AllocationRecord]:
        rows = await self._session.execute(statement, values or {})
        width = len(_IDENTITY)
        return [
            _fold(identity, [row[width:] for row in found], self._default)
            for identity, found in groupby(rows, key=lambda row: tuple(row[:width]))
        ]


def _fold(
    identity: Sequence[Any], rows: Sequence[Sequence[Any]], default: QuotaPolicy
) -> AllocationRecord:
    """What an allocation has come to: the sum of the amounts, the last end, the last policy."""
    changes = [
        Adjustment.model_validate(dict(zip(Adjustment.model_fields, row, strict=True)))
        for row in rows
    ]
    rules = [change.policy for change in changes if change.policy is not None][-1]
    rules = rules.filled_from(default)
    return AllocationRecord(
        **dict(zip(_IDENTITY, identity, strict=True)),
        ends_at=[change.ends_at for change in changes if change.ends_at is not None][-1],
        policy=rules.when_spent,
        rules=rules,
        amount=sum(change.amount for change in changes),
        used=0,
        adjustments=changes,
    )
