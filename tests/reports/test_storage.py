"""What was stored on each day, as Open XDMoD and APEL read it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.reports.conftest import OPERATOR, measured, utc

from dachub.infra.clock import HeldClock
from dachub.model.exports import ExportFormat
from dachub.model.storage import StorageArea, StorageMethod, StorageSample
from dachub.reports.formats.storage import (
    STAR,
    read_star,
    read_xdmod_storage,
    star_messages,
    xdmod_storage,
)
from dachub.reports.models import InvalidRecord
from dachub.reports.services import Output
from dachub.reports.settings import ReportSettings
from dachub.server.factory import Factory

DAY = date(2027, 3, 1)
SETTINGS = ReportSettings()


def sample(owner: str, *, area: StorageArea = StorageArea.HOME) -> StorageSample:
    return StorageSample(
        area=area,
        owner=owner,
        bytes=100,
        allocated_bytes=4096,
        files=3,
        sampled_at=utc(2027, 3, 1, 12),
        method=StorageMethod.WALK,
    )


def test_json_for_open_xdmod() -> None:
    content = xdmod_storage([(DAY, sample("ada")), (DAY, sample("x" * 32))], "dac")
    first, second = json.loads(content)
    assert first == {
        "resource": "dac", "mountpoint": "/home", "user": "ada", "pi": "ada",
        "dt": "2027-03-01T00:00:00Z", "file_count": 3, "logical_usage": 100,
        "physical_usage": 4096,
    }  # fmt: skip
    assert len(second["user"]) == 30
    assert xdmod_storage([(DAY, sample("été|\x00 {name}"))], "dac").isascii()


@pytest.mark.parametrize(
    ("key", "value"),
    [("user", "x" * 31), ("user", ""), ("pi", None), ("dt", "2027-03-01"), ("file_count", "3"),
     ("file_count", -1), ("logical_usage", 1.5), ("physical_usage", True), ("extra", 1)],
)  # fmt: skip
def test_a_record_that_open_xdmod_would_skip_is_refused(key: str, value: object) -> None:
    record = json.loads(xdmod_storage([(DAY, sample("ada"))], "dac"))[0]
    with pytest.raises(InvalidRecord):
        read_xdmod_storage(json.dumps([{**record, key: value}]).encode())


def test_two_records_for_one_place_and_day_are_refused() -> None:
    with pytest.raises(InvalidRecord, match="two storage records for one"):
        xdmod_storage([(DAY, sample("ada")), (DAY, sample("ada"))], "dac")


def test_star_says_who_and_how_much() -> None:
    days = [(DAY, sample("ada")), (DAY, sample("lensing", area=StorageArea.GROUP))]
    (message,) = star_messages(days, SETTINGS)
    assert read_star(message) == 2
    root = ElementTree.fromstring(message)
    texts = {child.tag.split("}")[1]: child.text for child in root[1].iter() if child.text}
    assert texts == {
        "StorageSystem": "dachub", "Site": "dachub", "StorageShare": "group", "FileCount": "3",
        "LocalGroup": "lensing", "Group": "dachub", "StartTime": "2027-03-01T00:00:00Z",
        "EndTime": "2027-03-02T00:00:00Z", "ResourceCapacityUsed": "4096",
        "LogicalCapacityUsed": "100",
    }  # fmt: skip
    assert list(star_messages(days, SETTINGS)) == [message]  # the same ids again
    (unnamed,) = star_messages(days, ReportSettings(apel_usernames=False))
    assert b"ada" not in unnamed


def test_star_messages_stay_below_the_limit() -> None:
    days = [(DAY, sample(f"user-{number}")) for number in range(50)]
    found = list(star_messages(days, SETTINGS, 8000))
    assert all(len(message) < 8000 for message in found)
    assert sum(read_star(message) for message in found) == 50


@pytest.mark.parametrize(
    ("old", "new"),
    [("4096", "-1"), ("4096", "4.5"), ("FileCount", "Filecount"), ("recordId", "recordid"),
     ("2027-03-02T00", "2027-03-01T00"), (STAR, "http://example.org/other")],
)  # fmt: skip
def test_a_wrong_star_record_is_refused(old: str, new: str) -> None:
    (message,) = star_messages([(DAY, sample("ada"))], SETTINGS)
    with pytest.raises(InvalidRecord):
        read_star(message.replace(old.encode(), new.encode()))


async def test_the_days_of_a_period_that_are_over(factory: Factory, clock: HeldClock) -> None:
    for days_ago in (40, 2, 1, 0):
        clock.advance(-timedelta(days=days_ago))
        await factory.storage().record(StorageArea.HOME, "ada", measured(4096))
        clock.advance(timedelta(days=days_ago))
    exports = factory.exports()
    for export_format in (ExportFormat.XDMOD_STORAGE, ExportFormat.APEL_STORAGE):
        outcome = await exports.prepare(
            OPERATOR, export_format, Output(Path("/nowhere")), utc(2027, 3, 1), utc(2027, 4, 1)
        )
        assert outcome.run is not None
        assert outcome.run.records == 2
        assert outcome.notes == ["From 2027-03-10 on the days are not over yet."]
        (file,) = await exports.contents(outcome.run.run_id)
        assert file.name.endswith(".json" if file.content.startswith(b"[") else ".xml")
