"""What was stored, day by day, for Open XDMoD and APEL.

Both know a record by place and day: sending a day again replaces it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta

from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.storage import StorageSample
from dachub.reports.formats.storage import star_messages, xdmod_storage
from dachub.reports.models import Draft, Piece
from dachub.reports.services.charged import SECOND
from dachub.reports.settings import ReportSettings
from dachub.storage.services import StorageService


class StorageExports:
    """Makes files of the days of a period that are over."""

    def __init__(self, storage: StorageService, clock: Clock, settings: ReportSettings) -> None:
        self._storage = storage
        self._clock = clock
        self._settings = settings

    async def xdmod(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """For Open XDMoD's storage realm.

        Raises
        ------
        PermissionDenied, InvalidPeriod, InvalidRecord
        """
        days = self._days(by, draft)
        async for content in xdmod_storage(days, self._settings.xdmod_resource):
            yield Piece(name, content)

    async def star(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """For APEL, as StAR.

        Raises
        ------
        PermissionDenied, InvalidPeriod, InvalidRecord
        """
        number = 0
        async for content in star_messages(self._days(by, draft), self._settings):
            number += 1
            yield Piece(f"{name}-{number:04}", content)

    async def _days(
        self, by: Principal, draft: Draft
    ) -> AsyncIterator[tuple[date, Sequence[StorageSample]]]:
        """What was stored on each day, counted in ``draft``; days without anything are left out."""
        by.require_administrator()
        day, last = draft.since.date(), (draft.until - SECOND).date()
        today = self._clock.now().date()
        while day <= last and day < today:
            samples = await self._storage.daily(day)
            draft.records += len(samples)
            if samples:
                yield day, samples
            day += timedelta(days=1)
        if day <= last:
            draft.notes.append(f"From {day.isoformat()} on the days are not over yet.")
