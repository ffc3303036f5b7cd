"""Periods of series follow one another without a gap, whatever the calendar does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dachub.model.allocations import Recurrence
from dachub.quota.services.periods import beginning, following, periods

moments = st.datetimes(datetime(2001, 1, 1), datetime(2190, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(st.sampled_from(Recurrence), moments)
def test_every_moment_lies_in_exactly_one_period(every: Recurrence, moment: datetime) -> None:
    start = beginning(every, moment)
    end = following(every, start)
    assert start <= moment < end
    assert beginning(every, start) == beginning(every, end - timedelta(seconds=1)) == start
    assert beginning(every, end) == end


@given(st.sampled_from(Recurrence), moments)
def test_periods_lie_end_to_end(every: Recurrence, moment: datetime) -> None:
    found = list(
        islice(periods(every, beginning(every, moment), datetime.max.replace(tzinfo=UTC)), 9)
    )
    assert all(before[1] == after[0] for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("every", "moment", "start", "end"),
    [
        (Recurrence.MONTH, "2028-02-29T23:59:59", "2028-02-01", "2028-03-01"),
        (Recurrence.QUARTER, "2027-03-31", "2027-01-01", "2027-04-01"),
        (Recurrence.YEAR, "2027-12-31", "2027-01-01", "2028-01-01"),
        (Recurrence.IRIS_YEAR, "2027-09-30T23:59:59", "2026-10-01", "2027-10-01"),
        (Recurrence.IRIS_YEAR, "2027-10-01", "2027-10-01", "2028-10-01"),
    ],
)
def test_known_periods(every: Recurrence, moment: str, start: str, end: str) -> None:
    at, first, last = (
        datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (moment, start, end)
    )
    assert (beginning(every, at), following(every, first)) == (first, last)
