"""Periods of reports: quarters of the year, and any other stretch, with those before them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dachub.accounting.models import InvalidPeriod
from dachub.accounting.services.usage import FIRST, period

_QUARTER = re.compile(r"(20\d\d)-?[Qq]([1-4])\Z", re.ASCII)
_MONTHS = ("January to March", "April to June", "July to September", "October to December")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A period with a name."""

    title: str
    since: datetime
    until: datetime

    def before(self) -> Stretch:
        """The period before it: the quarter, or as long a stretch."""
        if self.title.startswith("Q"):
            return quarter_of(self.since - timedelta(days=1))
        return stretch(self.since - (self.until - self.since), self.since)


def quarter(text: str) -> Stretch:
    """The quarter that ``text`` (2026Q4) names.

    Raises
    ------
    InvalidPeriod
    """
    found = _QUARTER.match(text.strip())
    if found is None:
        raise InvalidPeriod(f"'{text[:40]}' names no quarter: write it as 2026Q4.")
    return quarter_of(datetime(int(found[1]), 3 * int(found[2]) - 2, 1, tzinfo=UTC))


def quarter_of(moment: datetime) -> Stretch:
    """The quarter in which ``moment`` lies; the first of an IRIS year is the fourth here."""
    index = (moment.month - 1) // 3
    since = datetime(moment.year, 3 * index + 1, 1, tzinfo=UTC)
    following = (since + timedelta(days=100)).replace(day=1)
    return Stretch(f"Q{index + 1} {moment.year} ({_MONTHS[index]})", since, following)


def stretch(since: datetime, until: datetime) -> Stretch:
    """Any period.

    Raises
    ------
    InvalidPeriod
    """
    since, until = period(since, until)
    if since.time() == until.time() == FIRST.time():
        last = until - timedelta(days=1)
        return Stretch(f"{since:%Y-%m-%d} to {last:%Y-%m-%d}", since, until)
    return Stretch(f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}", since, until)
