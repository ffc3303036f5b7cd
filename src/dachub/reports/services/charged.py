"""What a session is charged for, held against the ledger's own sum."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dachub.model.sessions import SessionRecord
from dachub.model.units import MILLI_CORES_PER_CORE
from dachub.reports.models import ExportDisagrees

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Charged:
    """The stretch [started_at, until) that a session is charged for; empty if it is void."""

    started_at: datetime
    until: datetime
    milli_cores: int

    @classmethod
    def of(cls, session: SessionRecord, now: datetime) -> Charged:
        """As the ledger has it; one that runs on is charged up to ``now``.

        Raises
        ------
        ExportDisagrees
            If the segments of an ended session are not what its times and cores say.
        """
        started_at = session.started_at or session.requested_at
        until = session.ended_at or max(now, started_at)
        if session.started_at is None or session.is_void:
            until = started_at
        charged = cls(started_at, until, session.milli_cores)
        known = round(session.core_seconds * MILLI_CORES_PER_CORE)
        if session.ended_at is not None and charged.milli_core_seconds != known:
            raise ExportDisagrees(
                f"Session {session.session_id} is charged {known} milli-core-seconds, but its "
                f"times and cores make {charged.milli_core_seconds}. Nothing was written; look at "
                "it with: dachub session list --json"
            )
        return charged

    @property
    def seconds(self) -> int:
        """How long it is charged."""
        return int((self.until - self.started_at).total_seconds())

    @property
    def milli_core_seconds(self) -> int:
        """What it is charged."""
        return self.seconds * self.milli_cores

    def seconds_before(self, moment: datetime) -> int:
        """How long of it lies before ``moment``."""
        return max(0, int((min(self.until, moment) - self.started_at).total_seconds()))

    def within(self, since: datetime, until: datetime) -> int:
        """What it is charged in [since, until), in milli-core-seconds."""
        return (self.seconds_before(until) - self.seconds_before(since)) * self.milli_cores


def month_of(end: datetime) -> date:
    """First day of the month in which the last second before ``end`` lies."""
    return (end - SECOND).date().replace(day=1)
