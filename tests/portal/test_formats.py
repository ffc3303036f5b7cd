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
        (0, "0.000", "0:00:00"),
        (HOUR, "1.000", "1:00:00"),
        (250, "0.000", "0:00:00.25"),
        (61_000, "0.017", "0:01:01"),
        (1000 * HOUR, "1,000.0", "1,000:00:00"),
        (-HOUR // 2, "-0.500", "-0:30:00"),
        (1, "0.000", "0:00:00.001"),
    ],
)
def test_core_hours_stand_beside_the_exact_time(
    milli_core_seconds: int, hours: str, exact: str
) -> None:
    assert formats.hours(milli_core_seconds) == hours
    assert formats.core_time(milli_core_seconds) == exact


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (2 * 2**30, "2 GiB"),
        (2**29, "0.5 GiB"),
        (0, "0 GiB"),
        (100 * 2**30, "100 GiB"),
        (155_648, "152 KiB"),
    ],
)
def test_bytes_are_told_in_gib(size_bytes: int, text: str) -> None:
    assert formats.gib(size_bytes) == text


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
    assert formats.quantity(HOUR * 5, Resource.CORE_HOURS) == "5.000 core-hours"
    assert formats.quantity(1800, Resource.GPU_HOURS) == "0.500 GPU-hours"
    assert formats.quantity(2**30, Resource.FILE_BYTES) == "1 GiB of files"
    assert formats.quantity(2 * 10**12, Resource.FILE_BYTES) == "2 TB (1,862.65 GiB) of files"


def test_a_period_that_ends_at_midnight_has_the_day_before_as_its_last() -> None:
    assert last_day(datetime(2028, 1, 1, tzinfo=UTC)) == "2027-12-31"
