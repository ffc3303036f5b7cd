"""What a session is charged for, by its segments: one, or many where its resources changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from dachub.accounting.models import Segment

SECOND = timedelta(seconds=1)


class Charged:
    """The time of a session; one that runs on is charged up to ``now``.

    A voided session has a segment without length.

    Attributes
    ----------
    started_at, ended_at
        When it began and ended; ``ended_at`` is ``None`` while it runs.
    until
        When it ended, or now.
    milli_core_seconds
        What it is charged.
    """

    __slots__ = ("_stretches", "ended_at", "milli_core_seconds", "started_at", "until")

    def __init__(self, segments: Sequence[Segment], now: datetime) -> None:
        self._stretches = [
            (one.started_at, one.ended_at or max(now, one.started_at), one.milli_cores)
            for one in segments
        ]
        self.started_at = segments[0].started_at
        self.ended_at = segments[-1].ended_at
        self.until = self._stretches[-1][1]
        self.milli_core_seconds = self.milli_core_seconds_before(self.until)

    @property
    def seconds(self) -> int:
        """How long it is charged."""
        return self.seconds_before(self.until)

    def as_one(self) -> Segment:
        """From its start to its end, with the average of its cores."""
        length = (self.until - self.started_at) // SECOND
        return Segment(
            self.started_at, self.until, round(self.milli_core_seconds / length) if length else 0
        )

    def seconds_before(self, moment: datetime) -> int:
        """How long of it lies before ``moment``."""
        return sum(seconds for seconds, _ in self._before(moment))

    def milli_core_seconds_before(self, moment: datetime) -> int:
        """What it is charged up to ``moment``."""
        return sum(seconds * milli_cores for seconds, milli_cores in self._before(moment))

    def within(self, since: datetime, until: datetime) -> int:
        """What it is charged in [since, until), in milli-core-seconds."""
        if since <= self.started_at and self.until <= until:
            return self.milli_core_seconds
        return self.milli_core_seconds_before(until) - self.milli_core_seconds_before(since)

    def _before(self, moment: datetime) -> list[tuple[int, int]]:
        """Seconds and milli-cores of each stretch up to ``moment``."""
        return [
            ((min(until, moment) - since) // SECOND, milli_cores)
            for since, until, milli_cores in self._stretches
            if since < moment
        ]


def month_of(end: datetime) -> date:
    """First day of the month in which the last second before ``end`` lies."""
    return (end - SECOND).date().replace(day=1)
