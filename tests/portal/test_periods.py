"""Calendar periods in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from dachub.model.problems import InvalidInput
from dachub.server.portal.periods import choose_period

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("choice", "now", "first", "last"),
    [
        ("this-month", NOW, "2027-03-01", "2027-03-31"),
        ("last-month", NOW, "2027-02-01", "2027-02-28"),
        ("last-month", datetime(2028, 1, 31, tzinfo=UTC), "2027-12-01", "2027-12-31"),
        ("this-quarter", NOW, "2027-01-01", "2027-03-31"),
        ("this-quarter", datetime(2027, 12, 31, 23, tzinfo=UTC), "2027-10-01", "2027-12-31"),
        ("this-year", NOW, "2027-01-01", "2027-12-31"),
        ("this-month", datetime(2028, 2, 29, tzinfo=UTC), "2028-02-01", "2028-02-29"),
    ],
)
def test_calendar_periods(choice: str, now: datetime, first: str, last: str) -> None:
    period = choose_period(choice, "", "", now)
    assert (period.first.isoformat(), period.last.isoformat()) == (first, last)


def test_own_days_include_the_last() -> None:
    period = choose_period("custom", "2027-01-05", "2027-01-05", NOW)
    assert period.since == datetime(2027, 1, 5, tzinfo=UTC)
    assert period.until == datetime(2027, 1, 6, tzinfo=UTC)
    assert period.query == "period=custom&first=2027-01-05&last=2027-01-05"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("", ""),
        ("2027-02-30", "2027-03-01"),
        ("2027-03-02", "2027-03-01"),
        ("0001-01-01", "2027-01-01"),
        ("2027-01-01", "9999-12-31"),
        ("2010-01-01", "2026-01-01"),
        ("<b>", "2027-01-01"),
    ],
)
def test_days_that_make_no_period_are_refused(first: str, last: str) -> None:
    with pytest.raises(InvalidInput):
        choose_period("custom", first, last, NOW)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(InvalidInput):
        choose_period("for-ever", "", "", NOW)


def test_days_to_come_are_left_out() -> None:
    days = choose_period("this-month", "", "", NOW).days(NOW)
    assert (days[0], days[-1]) == (date(2027, 3, 1), date(2027, 3, 10))
