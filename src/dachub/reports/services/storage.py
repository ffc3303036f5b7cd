"""What was stored, day by day, for Open XDMoD and APEL.

Both know a record by place and day: sending a day again replaces it.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from dachub.accounting.services.usage import period
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.exports import ExportFormat
from dachub.model.storage import StorageSample
from dachub.reports.formats.storage import star_messages, xdmod_storage
from dachub.reports.models import Draft, DraftFile
from dachub.reports.services.charged import SECOND
from dachub.reports.settings import ReportSettings
from dachub.storage.services import StorageService


class StorageExports:
    """Drafts files of the days of a period that are over."""

    def __init__(self, storage: StorageService, clock: Clock, settings: ReportSettings) -> None:
        self._storage = storage
        self._clock = clock
        self._settings = settings

    async def xdmod(self, by: Principal, since: datetime, until: datetime, name: str) -> Draft:
        """For Open XDMoD's storage realm.

        Raises
        ------
        PermissionDenied, InvalidPeriod, InvalidRecord
        """
        draft, samples = await self._draft(by, ExportFormat.XDMOD_STORAGE, since, until)
        if samples:
            content = xdmod_storage(samples, self._settings.xdmod_resource)
            draft.files.append(DraftFile(name, content))
        return draft

    async def star(self, by: Principal, since: datetime, until: datetime, name: str) -> Draft:
        """For APEL, as StAR.

        Raises
        ------
        PermissionDenied, InvalidPeriod, InvalidRecord
        """
        draft, samples = await self._draft(by, ExportFormat.APEL_STORAGE, since, until)
        draft.files += [
            DraftFile(f"{name}-{number:04}", content)
            for number, content in enumerate(star_messages(samples, self._settings), 1)
        ]
        return draft

    async def _draft(
        self, by: Principal, export_format: ExportFormat, since: datetime, until: datetime
    ) -> tuple[Draft, list[tuple[date, StorageSample]]]:
        by.require_administrator()
        since, until = period(since, until)
        samples: list[tuple[date, StorageSample]] = []
        day, today = since.date(), self._clock.now().date()
        while day <= (until - SECOND).date() and day < today:
            samples += [(day, sample) for sample in await self._storage.daily(day)]
            day += timedelta(days=1)
        draft = Draft(export_format, since, until, records=len(samples))
        if day <= (until - SECOND).date():
            draft.notes.append(f"From {day.isoformat()} on the days are not over yet.")
        return draft, samples
