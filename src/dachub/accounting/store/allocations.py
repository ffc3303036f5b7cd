"""Allocations and the adjustments that their amounts are the sums of."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import Grant
from dachub.accounting.tables import AdjustmentRow, AllocationRow
from dachub.model.usage import Adjustment, AllocationRecord, Policy, Resource


class AllocationStore:
    """Adds to allocations; never changes or removes what was granted."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self, group: str, resource: Resource, starts_at: datetime, ends_at: datetime, policy: Policy
    ) -> int:
        """A new allocation of nothing yet; returns its id."""
        row = AllocationRow(
            group=group,
            resource=resource.value,
            starts_at=starts_at,
            ends_at=ends_at,
            policy=policy.value,
        )
        self._session.add(row)
        await self._session.flush()
        return row.allocation_id

    async def adjust(
        self, allocation_id: int, amount: int, *, reason: str, author: str, at: datetime
    ) -> None:
        """Append a change of the amount."""
        self._session.add(
            AdjustmentRow(
                allocation_id=allocation_id, amount=amount, reason=reason, author=author, at=at
            )
        )
        await self._session.flush()

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
        found = await self._records(AllocationRow.allocation_id == allocation_id)
        return found[0] if found else None

    async def of_groups(self, groups: Collection[str] | None) -> list[AllocationRecord]:
        """Allocations of groups (all: ``None``), by group, the latest first."""
        if groups is None:
            return await self._records()
        return await self._records(AllocationRow.group.in_(groups))

    async def grants(self, group: str) -> list[Grant]:
        """Core-hour allocations of a group, past and future ones too, by their beginning."""
        found = await self._records(
            AllocationRow.group == group, AllocationRow.resource == Resource.CORE_HOURS.value
        )
        grants = [
            Grant(record.starts_at, record.ends_at, record.amount, record.policy)
            for record in found
        ]
        return sorted(grants, key=lambda grant: (grant.since, grant.until))

    async def _records(self, *conditions: ColumnElement[bool]) -> list[AllocationRecord]:
        allocations = list(
            await self._session.scalars(
                select(AllocationRow)
                .where(*conditions)
                .order_by(
                    AllocationRow.group,
                    AllocationRow.starts_at.desc(),
                    AllocationRow.allocation_id.desc(),
                )
            )
        )
        adjustments: dict[int, list[Adjustment]] = {}
        for row in await self._session.scalars(
            select(AdjustmentRow)
            .join(AllocationRow, AllocationRow.allocation_id == AdjustmentRow.allocation_id)
            .where(*conditions)
            .order_by(AdjustmentRow.adjustment_id)
        ):
            adjustments.setdefault(row.allocation_id, []).append(
                Adjustment(amount=row.amount, reason=row.reason, author=row.author, at=row.at)
            )
        return [
            AllocationRecord(
                allocation_id=row.allocation_id,
                group=row.group,
                resource=Resource(row.resource),
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                policy=Policy(row.policy),
                amount=sum(change.amount for change in adjustments.get(row.allocation_id, [])),
                used=0,
                adjustments=adjustments.get(row.allocation_id, []),
            )
            for row in allocations
        ]
