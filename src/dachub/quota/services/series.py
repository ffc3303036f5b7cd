"""Recurring allocations: every period is an ordinary one, made in good time, exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from dachub.accounting.models import InvalidPeriod, Span
from dachub.accounting.services import UsageService
from dachub.accounting.services.usage import FIRST, LAST, period
from dachub.directory.models import Principal
from dachub.directory.services import AuditService, GroupService
from dachub.infra.clock import Clock
from dachub.model.allocations import AllocationSeries, Recurrence
from dachub.model.problems import Conflict, InvalidInput, NotFound
from dachub.model.usage import AllocationRecord, Policy, QuotaPolicy, Resource
from dachub.quota.models import Change, Grant, InvalidAmount
from dachub.quota.services.allocations import (
    ID_MAX,
    base_units,
    checked_reason,
    policy_of,
    visible_groups,
)
from dachub.quota.services.balance import left_of, stretches_of
from dachub.quota.services.periods import beginning, following, periods
from dachub.quota.store.allocations import AllocationStore
from dachub.quota.store.series import SeriesStore

SERIES_KEY = "series"
CARRY_KEY = "carry-over"
ENDED_KEY = "series-ended"
GRAIN = timedelta(seconds=1)


class SeriesService:
    """Adds, ends and shows series, and makes their allocations."""

    def __init__(
        self,
        store: SeriesStore,
        allocations: AllocationStore,
        usage: UsageService,
        groups: GroupService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._allocations = allocations
        self._usage = usage
        self._groups = groups
        self._audit = audit
        self._clock = clock

    async def add(
        self,
        by: Principal,
        *,
        group: str,
        resource: Resource,
        amount: Decimal | str | float,
        every: Recurrence,
        first: datetime | None = None,
        until: datetime | None = None,
        carry_over_percent: int | None = 0,
        policy: Policy | QuotaPolicy | None = None,
        reason: str,
    ) -> AllocationSeries:
        """Grant ``amount`` anew for every period; those of now and next are made at once.

        Parameters
        ----------
        first
            A moment in the first period, which is whole; now, where not given.
        until
            No period begins then or later.
        carry_over_percent
            What of the unspent goes to the next period: 0 nothing, ``None`` all, else at most so
            many percent of ``amount``.

        Raises
        ------
        PermissionDenied
        NotFound
            If there is no such group.
        InvalidAmount, InvalidPeriod, InvalidInput
        """
        by.require_administrator()
        granted = base_units(amount, resource)
        if granted <= 0:
            raise InvalidAmount("A series grants something.")
        if carry_over_percent is not None and not 0 <= carry_over_percent <= 100:
            raise InvalidInput("What is carried over is between 0 and 100 percent, or all.")
        first = first or self._clock.now()
        first, until_checked = period(first, until or LAST)
        if "\0" in group:
            raise InvalidInput("A name cannot contain the character NUL.")
        await self._groups.title(group)  # there is such a group
        start = beginning(every, first)
        if start < FIRST:
            raise InvalidPeriod("The first period begins before the year 2000.")
        series = await self._store.add(
            AllocationSeries(
                series_id=0,
                group=group,
                resource=resource,
                amount=granted,
                every=every,
                first=start,
                until=None if until is None else until_checked,
                carry_over_percent=carry_over_percent,
                policy=policy_of(policy),
                reason=checked_reason(reason),
                author=by.name,
                at=self._clock.now(),
            )
        )
        await self._audit.record(
            by,
            "series-added",
            group=group,
            series_id=series.series_id,
            resource=resource.value,
            amount=str(amount),
            every=every.value,
            reason=series.reason,
        )
        await self._store.lock()
        await self._make([series])
        return series

    async def end(self, by: Principal, series_id: int, reason: str) -> AllocationSeries:
        """Let no further period begin; the one of now goes on to its end.

        What was made ahead for the next period is taken back by an appended adjustment.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput
        Conflict
            If it has ended already.
        """
        by.require_administrator()
        reason = checked_reason(reason)
        await self._store.lock()
        series = await self._store.find(series_id) if 0 < series_id <= ID_MAX else None
        if series is None:
            raise NotFound(f"There is no series {series_id}.")
        now = self._clock.now()
        if series.until is not None and series.until <= now:
            raise Conflict(f"The series {series_id} has ended already.")
        await self._store.end(series_id, now, by=by.name, reason=reason)
        for made in await self._allocations.of_series([series_id]):
            if made.starts_at > now:
                await self._take_back(made.allocation_id, Change(reason, by.name, now))
        await self._audit.record(
            by, "series-ended", group=series.group, series_id=series_id, reason=reason
        )
        return series.model_copy(update={"until": now, "ended_by": by.name, "end_reason": reason})

    async def _take_back(self, allocation_id: int, change: Change) -> None:
        """Take all of an allocation, also what somebody adds or takes at this moment."""
        await self._allocations.lock(allocation_id)
        made = await self._allocations.find(allocation_id)
        if made is not None and made.amount:
            taken = replace(change, amount=-made.amount, key=ENDED_KEY)
            await self._allocations.append(allocation_id, taken)

    async def list(self, by: Principal, *, group: str | None = None) -> Sequence[AllocationSeries]:
        """Series of a group for its members, of all their groups, or all for administrators.

        Raises
        ------
        PermissionDenied
        """
        return await self._store.of_groups(visible_groups(by, group))

    async def materialise(self) -> str:
        """Make what periods lack up to the next one, and carry over what was not spent.

        For a worker: whatever was missed in an outage is made up for, nothing is made twice. What
        is carried over is corrected by further adjustments if the usage of an old period changes.
        """
        await self._store.lock()
        series = await self._store.of_groups(None)
        made = await self._make(series)
        carried = await self._carry_over([one for one in series if one.carry_over_percent != 0])
        return f"{made} allocations made, {carried} adjusted by what was left"

    async def _make(self, series: Sequence[AllocationSeries]) -> int:
        now = self._clock.now()
        there = {
            (record.series_id, record.starts_at)
            for record in await self._allocations.of_series([one.series_id for one in series])
        }
        count = 0
        for one in series:
            horizon = max(one.first, following(one.every, beginning(one.every, now))) + GRAIN
            for start, end in periods(one.every, one.first, min(horizon, one.until or LAST)):
                if (one.series_id, start) not in there:
                    count += await self._make_one(one, start, end)
        return count

    async def _make_one(self, series: AllocationSeries, start: datetime, end: datetime) -> bool:
        allocation_id = await self._allocations.add(
            series.group, series.resource, start, series.series_id
        )
        if allocation_id is None:
            return False
        change = Change(
            f"{series.reason} (series {series.series_id}, every {series.every.value})",
            series.author,
            self._clock.now(),
            series.amount,
            end,
            series.policy,
            SERIES_KEY,
        )
        return await self._allocations.append(allocation_id, change)

    async def _carry_over(self, series: Sequence[AllocationSeries]) -> int:
        """Hold what the periods were given of each other against what was left; append the rest."""
        now = self._clock.now()
        wanted = {one.series_id: one for one in series}
        found = await self._allocations.of_groups({one.group for one in series})
        records = {record.allocation_id: record for record in found}
        pairs = [
            (before.allocation_id, after.allocation_id)
            for before, after in pairwise(sorted(found, key=_in_order))
            if before.series_id == after.series_id
            and after.series_id in wanted
            and max(before.ends_at, after.starts_at) <= now
        ]
        cuts = [stretches_of(*_seen_by(records, before)) for before, _ in pairs]
        spans = [
            Span(records[before].group, since, until)
            for (before, _), cut in zip(pairs, cuts, strict=True)
            for since, until in cut
        ]
        used = iter(await self._usage.of_spans(spans, now))
        count = 0
        for (before, after), cut in zip(pairs, cuts, strict=True):
            resource = records[before].resource
            charged = [(since, resource.used(next(used))) for since, _ in cut]
            grants, one = _seen_by(records, before)
            series_of = wanted[records[after].series_id or 0]
            left = left_of(grants, charged, one)
            if _carried(series_of, left, records[before], records[after], now) is None:
                continue
            await self._allocations.lock(after)
            records[after] = await self._read(after)  # somebody may have changed it meanwhile
            change = _carried(series_of, left, records[before], records[after], now)
            if change is None:
                continue
            await self._allocations.append(after, change)
            records[after] = await self._read(after)  # the next pair of the series sees it
            count += 1
        return count

    async def _read(self, allocation_id: int) -> AllocationRecord:
        found = await self._allocations.find(allocation_id)
        assert found is not None  # noqa: S101  none is ever removed
        return found


def _in_order(record: AllocationRecord) -> tuple[int, datetime]:
    return record.series_id or 0, record.starts_at


def _seen_by(
    records: Mapping[int, AllocationRecord], allocation_id: int
) -> tuple[list[Grant], Grant]:
    """All allocations of the same group and resource, and that one among them."""
    one = records[allocation_id]
    grants = {
        record.allocation_id: Grant(record.starts_at, record.ends_at, record.amount, record.rules)
        for record in records.values()
        if (record.group, record.resource) == (one.group, one.resource)
    }
    return list(grants.values()), grants[allocation_id]


def _carried(
    series: AllocationSeries,
    left: int,
    before: AllocationRecord,
    after: AllocationRecord,
    now: datetime,
) -> Change | None:
    """The adjustment that ``after`` lacks; ``None`` if it has what it is due."""
    is_over = series.until is not None and after.starts_at >= series.until
    due = 0 if is_over else max(left, 0)
    if series.carry_over_percent is not None:
        due = min(due, series.amount * series.carry_over_percent // 100)
    earlier = [change for change in after.adjustments if (change.key or "").startswith(CARRY_KEY)]
    lacking = max(due - sum(change.amount for change in earlier), -after.amount)
    if lacking == 0:
        return None
    what = "corrected: what was used then has changed" if earlier else "not used"
    return Change(
        f"carried over from the period of {before.starts_at:%-d %B %Y}, {what}",
        series.author,
        now,
        amount=lacking,
        key=f"{CARRY_KEY}:{len(earlier) + 1}",
    )
