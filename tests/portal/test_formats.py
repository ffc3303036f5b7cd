"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dachub.model.units import cores, last_day
from dachub.model.usage import Resource
from dachub.server.portal import formats

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("milli_core_seconds", "hours", "exact"),
    [
        (0, "0.00", "0:00:00"),
        (HOUR, "1.00", "1:00:00"),
        (250, "<0.01", "0:00:00.25"),
        (61_000, "0.02", "0:01:01"),
        (1000 * HOUR, "1,000.00", "1,000:00:00"),
        (-HOUR // 2, "-0.50", "-0:30:00"),
        (1, "<0.01", "0:00:00.001"),
    ],
)
def test_core_hours_stand_beside_the_exact_time(
    milli_core_seconds: int, hours: str, exact: str
) -> None:
    assert formats.hours(milli_core_seconds) == hours
    assert formats.core_time(milli_core_seconds) == exact


def test_columns_have_as_many_decimals_in_every_row() -> None:
    assert [formats.space(size) for size in (2 * 10**12, 39_600_000_000, 1500)] == [
        "2.00 TB", "39.60 GB", "1.50 kB",
    ]  # fmt: skip
    assert [formats.number(HOUR * n // 8, Resource.CORE_HOURS) for n in (8, 4, 8000)] == [
        "1.00", "0.50", "1,000.00",
    ]  # fmt: skip
    assert [formats.core_clock(amount) for amount in (HOUR + 250, 600, -500)] == [
        "1:00:00", "0:00:01", "0:00:00",
    ]  # fmt: skip


def test_cores_are_counted() -> None:
    assert [cores(n) for n in (1000, 250, 4000)] == ["1 core", "0.25 cores", "4 cores"]


def test_a_moment_names_its_zone_and_can_be_read_by_machines() -> None:
    at = datetime(2027, 3, 10, 13, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    html = str(formats.moment(at))
    assert 'datetime="2027-03-10T12:00:05Z"' in html
    assert "2027-03-10 12:00:05" in html
    assert "UTC" in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"),
     (86_400, "1 day ago"), (3 * 86_400 + 5, "3 days ago")],
)  # fmt: skip
def test_age_is_told_roughly(seconds: int, text: str) -> None:
    now = datetime(2027, 3, 10, 12, tzinfo=UTC)
    assert formats.age(now - timedelta(seconds=seconds), now) == text


def test_amounts_are_told_in_their_unit() -> None:
    assert formats.quantity(HOUR * 5, Resource.CORE_HOURS) == "5 core-hours"
    assert formats.quantity(1800, Resource.GPU_HOURS) == "0.5 GPU-hours"
    assert formats.quantity(10**9, Resource.FILE_BYTES) == "1 GB of files"
    assert formats.quantity(2 * 10**12, Resource.FILE_BYTES) == "2 TB of files"


def test_a_period_that_ends_at_midnight_has_the_day_before_as_its_last() -> None:
    assert last_day(datetime(2028, 1, 1, tzinfo=UTC)) == "2027-12-31"
