"""Logs end each day, when they are large, and after their term; the disk stays ours."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from dachub.model import logfiles
from dachub.model.logfiles import DAY_SECONDS, DailyFile

NOW = 1_900_000_000.0


class Days:
    """A clock that the files go by; writing sets their times as the day's."""

    def __init__(self, path: Path, **limits: int | None) -> None:
        self.now = NOW
        self.path = path
        self.limits = limits
        self.file = self.open()

    def open(self) -> DailyFile:
        limits = {"file_bytes": 10_000, "all_bytes": 60_000, "days": 3, **self.limits}
        return DailyFile(self.path, **limits)  # type: ignore[arg-type]

    def write(self, text: str) -> None:
        self.file.emit(logging.LogRecord("x", logging.INFO, "", 0, text, None, None))
        os.utime(self.path, (self.now, self.now))

    def texts(self) -> list[str]:
        """Of each file what stands in it, the present one first."""
        files = sorted(self.path.parent.iterdir(), key=lambda one: (len(one.name), one.name))
        return [one.read_text().strip() for one in files]


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Days:
    made = Days(tmp_path / "service.json")
    monkeypatch.setattr(logfiles.time, "time", lambda: made.now)
    os.utime(made.path, (NOW, NOW))
    made.file = made.open()
    return made


def test_each_day_has_a_file_and_old_ones_go(days: Days) -> None:
    for number in range(10):
        days.write(f"day {number}")
        days.now += DAY_SECONDS
    assert days.texts() == ["day 9", "day 8", "day 7", "day 6"]


def test_a_file_of_yesterday_is_closed_also_after_a_restart(days: Days) -> None:
    days.write("yesterday")
    days.file.close()
    days.now += DAY_SECONDS
    days.file = days.open()
    days.write("today")
    assert days.texts() == ["today", "yesterday"]


def test_a_flood_takes_no_more_room_than_it_may(days: Days) -> None:
    for _ in range(200):
        days.write("x" * 999)
    sizes = [one.stat().st_size for one in days.path.parent.iterdir()]
    assert max(sizes) <= 10_000
    assert 40_000 <= sum(sizes) <= 60_000


def test_without_a_term_files_stay_while_there_is_room(tmp_path: Path, days: Days) -> None:
    days.limits = {"days": None}
    days.file = days.open()
    for number in range(30):
        days.write(f"day {number}")
        days.now += DAY_SECONDS
    assert len(days.texts()) == 30


def test_nobody_else_reads_it(days: Days) -> None:
    days.write("x")
    days.now += DAY_SECONDS
    days.write("y")
    assert {one.stat().st_mode & 0o777 for one in days.path.parent.iterdir()} == {0o600}
