"""Seconds are neither lost nor invented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dachub.model.units import core_hours, split_by_day, whole_second

moments = st.datetimes(
    min_value=datetime(2019, 12, 1),  # noqa: DTZ001 (hypothesis adds the zone)
    max_value=datetime(2032, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(whole_second)


@given(moments, st.integers(0, 400 * 86_400))
def test_splitting_at_midnights_keeps_every_second(start: datetime, length_seconds: int) -> None:
    parts = split_by_day(start, start + timedelta(seconds=length_seconds))
    assert sum(seconds for _, seconds in parts) == length_seconds
    assert all(0 < seconds <= 86_400 for _, seconds in parts)
    days = [day for day, _ in parts]
    assert days == sorted(set(days))


def test_a_leap_day_is_a_day_of_its_own() -> None:
    start = datetime(2028, 2, 28, 12, tzinfo=UTC)
    parts = split_by_day(start, start + timedelta(days=2))
    assert [(day.month, day.day, seconds) for day, seconds in parts] == [
        (2, 28, 43_200),
        (2, 29, 86_400),
        (3, 1, 43_200),
    ]


def test_moments_are_cut_to_seconds_in_utc() -> None:
    moment = datetime(2026, 3, 29, 2, 30, 1, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert whole_second(moment) == datetime(2026, 3, 29, 1, 30, 1, tzinfo=UTC)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        whole_second(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_off_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="calendar"):
        whole_second(datetime.fromisoformat(text))


def test_a_core_hour() -> None:
    assert core_hours(1000 * 3600) == 1.0
    assert core_hours(250 * 3600) == 0.25
