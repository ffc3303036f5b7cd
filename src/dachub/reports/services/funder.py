"""Gathers the figures of the report to the funder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from dachub.accounting.services import Accounting
from dachub.accounting.services.usage import FIRST
from dachub.directory.models import Principal
from dachub.directory.services import GroupService
from dachub.infra.clock import Clock
from dachub.model.reports import FunderReport, ReportPeriod, ReportRow, StorageDay, StoredRow
from dachub.model.storage import StorageArea, StorageSample
from dachub.model.usage import AllocationRecord, Usage, UsageDimension, UsageRow
from dachub.quota.services import Quota
from dachub.reports.services.charged import SECOND
from dachub.reports.services.periods import Stretch
from dachub.storage.services import StorageService

TREND_PERIODS = 8
STORAGE_DAYS = 100
STORAGE_POINTS = 13
"""Of at most so many days, evenly spread, at most so many are shown: about weekly in a quarter."""


class FunderReports:
    """Makes the report of a period; every figure comes from the services of the portal."""

    def __init__(
        self,
        accounting: Accounting,
        quota: Quota,
        storage: StorageService,
        groups: GroupService,
        clock: Clock,
        site: str,
    ) -> None:
        self._usage = accounting.usage()
        self._sessions = accounting.sessions()
        self._allocations = quota.allocations()
        self._awards = quota.awards()
        self._storage = storage
        self._groups = groups
        self._clock = clock
        self._site = site

    async def report(self, by: Principal, stretch: Stretch) -> FunderReport:
        """Figures of a period; of one that goes on, up to now.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        since, until = stretch.since, stretch.until
        by_person = await self._usage.report(by, since=since, until=until, dimensions=["user"])
        titles = {group.slug: group.title for group in await self._groups.list(by)}
        groups = await self._rows(by, stretch, "group")
        for row in groups:
            row.title = titles.get(row.name, "")
        stored_on, stored, days = await self._stored(stretch)
        return FunderReport(
            site=self._site,
            title=stretch.title,
            since=since,
            until=until,
            counted_to=by_person.counted_to,
            made_at=self._clock.now(),
            total=by_person.total,
            sessions=await self._sessions.count_overlapping(by, since, until),
            people=len(by_person.rows),
            months=await self._rows(by, stretch, "month"),
            groups=groups,
            institutions=await self._rows(by, stretch, "institution"),
            sizes=await self._rows(by, stretch, "size"),
            environments=await self._rows(by, stretch, "environment"),
            kinds=await self._rows(by, stretch, "kind"),
            trend=await self._trend(by, stretch),
            allocations=await self._of_period(by, since, until),
            awards=list(await self._awards.standing(by, since, until)),
            stored=stored,
            stored_on=stored_on,
            storage_days=days,
        )

    async def _rows(
        self, by: Principal, stretch: Stretch, dimension: UsageDimension
    ) -> list[ReportRow]:
        """Sums by one dimension with the people behind them: most first, months in their order."""
        report = await self._usage.report(
            by, since=stretch.since, until=stretch.until, dimensions=[dimension, "user"]
        )
        rows: dict[str, ReportRow] = {}
        for used in report.rows:
            name = _name(used, dimension)
            row = rows.setdefault(name, ReportRow(name=name))
            row.people += 1
            row.milli_core_seconds += used.milli_core_seconds
            row.memory_byte_seconds += used.memory_byte_seconds
            row.gpu_seconds += used.gpu_seconds
        if dimension == "month":
            return sorted(rows.values(), key=lambda row: row.name)
        return sorted(rows.values(), key=lambda row: (-row.milli_core_seconds, row.name))

    async def _trend(self, by: Principal, stretch: Stretch) -> list[ReportPeriod]:
        """The period and those before it, from the first in which anything was used."""
        found: list[ReportPeriod] = []
        current = stretch
        for _ in range(TREND_PERIODS):
            report = await self._usage.report(
                by, since=current.since, until=current.until, dimensions=["user", "group"]
            )
            found.append(
                ReportPeriod(
                    title=current.title.split(" (")[0],
                    since=current.since,
                    until=current.until,
                    people=len({row.username for row in report.rows}),
                    groups=len({row.group for row in report.rows}),
                    **report.total.model_dump(),
                )
            )
            if current.since - (current.until - current.since) < FIRST:
                break
            current = current.before()
        while len(found) > 1 and not _any(found[-1]):
            found.pop()
        return found[::-1]

    async def _of_period(
        self, by: Principal, since: datetime, until: datetime
    ) -> list[AllocationRecord]:
        found = await self._allocations.list(by)
        overlapping = [one for one in found if one.starts_at < until and one.ends_at > since]
        return sorted(overlapping, key=lambda one: (one.group, one.resource, one.starts_at))

    async def _stored(
        self, stretch: Stretch
    ) -> tuple[date | None, list[StoredRow], list[StorageDay]]:
        """What was stored on the last day measured, and on days spread over the period."""
        last = min(stretch.until - SECOND, self._clock.now()).date()
        length = max(0, (last - stretch.since.date()).days)
        days: list[StorageDay] = []
        stored_on, newest = None, list[StorageSample]()
        for back in range(0, length + 1, -(-(length + 1) // STORAGE_DAYS)):
            day = last - timedelta(days=back)
            samples = list(await self._storage.daily(day))
            if not samples:
                continue
            if stored_on is None:
                stored_on, newest = day, samples
            total = sum(sample.allocated_bytes for sample in samples)
            days.append(StorageDay(day=day, allocated_bytes=total))
        every = max(1, -(-len(days) // STORAGE_POINTS))
        return stored_on, _stored_rows(newest), days[::every][::-1]


def _stored_rows(samples: Sequence[StorageSample]) -> list[StoredRow]:
    """Homes together, so that no person stands out; each group's folder."""
    homes = [sample for sample in samples if sample.area is StorageArea.HOME]
    rows = [_stored_row("homes", homes)] if homes else []
    others = [sample for sample in samples if sample.area is not StorageArea.HOME]
    return rows + sorted(
        (_stored_row(f"{one.area.value} {one.owner}", [one]) for one in others),
        key=lambda row: (-row.allocated_bytes, row.name),
    )


def _stored_row(name: str, samples: Iterable[StorageSample]) -> StoredRow:
    sums: Counter[str] = Counter()
    for sample in samples:
        sums["places"] += 1
        for key in ("bytes", "allocated_bytes", "files"):
            sums[key] += getattr(sample, key)
    return StoredRow(
        name=name,
        places=sums["places"],
        bytes=sums["bytes"],
        allocated_bytes=sums["allocated_bytes"],
        files=sums["files"],
    )


def _name(row: UsageRow, dimension: UsageDimension) -> str:
    if dimension == "month":
        return f"{row.month:%Y-%m}"
    return str(getattr(row, dimension))


def _any(usage: Usage) -> bool:
    return bool(usage.milli_core_seconds or usage.memory_byte_seconds or usage.gpu_seconds)
