"""What a session is charged for, by its segments: one, or many where its resources changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dachub.accounting.models import Segment

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Charged:
    """The time of a session; one that runs on is charged up to ``now``.

    A voided session has a segment without length.
    """

    segments: Sequence[Segment]
    now: datetime

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return self.segments[0].started_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; ``None`` while it runs."""
        return self.segments[-1].ended_at

    @property
    def until(self) -> datetime:
        """When it ended, or now."""
        return self.ended_at or max(self.now, self.segments[-1].started_at)

    @property
    def seconds(self) -> int:
        """How long it is charged."""
        return self.seconds_before(self.until)

    @property
    def milli_core_seconds(self) -> int:
        """What it is charged."""
        return self.milli_core_seconds_before(self.until)

    def as_one(self) -> Segment:
        """From its start to its end, with the average of its cores."""
        length = int((self.until - self.started_at).total_seconds())
        return Segment(
            self.started_at, self.until, round(self.milli_core_seconds / length) if length else 0
        )

    def seconds_before(self, moment: datetime) -> int:
        """How long of it lies before ``moment``."""
        return sum(self._before(segment, moment) for segment in self.segments)

    def milli_core_seconds_before(self, moment: datetime) -> int:
        """What it is charged up to ``moment``."""
        return sum(self._before(one, moment) * one.milli_cores for one in self.segments)

    def within(self, since: datetime, until: datetime) -> int:
        """What it is charged in [since, until), in milli-core-seconds."""
        return self.milli_core_seconds_before(until) - self.milli_core_seconds_before(since)

    def _before(self, segment: Segment, moment: datetime) -> int:
        end = min(segment.ended_at or max(self.now, segment.started_at), moment)
        return max(0, int((end - segment.started_at).total_seconds()))


def month_of(end: datetime) -> date:
    """First day of the month in which the last second before ``end`` lies."""
    return (end - SECOND).date().replace(day=1)
