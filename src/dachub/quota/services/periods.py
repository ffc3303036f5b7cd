"""The periods of series: half-open, in UTC, one after the other without a gap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dachub.model.allocations import Recurrence
from dachub.model.units import day_start

_MONTHS = {
    Recurrence.MONTH: 1,
    Recurrence.QUARTER: 3,
    Recurrence.YEAR: 12,
    Recurrence.IRIS_YEAR: 12,
}
_FIRST_MONTH = {Recurrence.IRIS_YEAR: 10}
MONTHS_PER_YEAR = 12


def beginning(every: Recurrence, moment: datetime) -> datetime:
    """When the period began in which ``moment`` lies."""
    length, first_month = _MONTHS[every], _FIRST_MONTH.get(every, 1)
    into = (moment.month - first_month) % length
    return _months_later(day_start(moment).replace(day=1), -into)


def following(every: Recurrence, start: datetime) -> datetime:
    """When the period ends that begins at ``start``, and the next one begins."""
    return _months_later(start, _MONTHS[every])


def periods(
    every: Recurrence, first: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Periods that begin in [first, until); ``first`` is a beginning."""
    start = first
    while start < until:
        end = following(every, start)
        yield start, end
        start = end


def _months_later(midnight: datetime, count: int) -> datetime:
    years, month = divmod(midnight.month - 1 + count, MONTHS_PER_YEAR)
    return midnight.replace(year=midnight.year + years, month=month + 1)
