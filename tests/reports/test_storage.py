"""What was stored on each day, as Open XDMoD and APEL read it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.reports.conftest import OPERATOR, content, each, measured, utc

from dachub.infra.clock import HeldClock
from dachub.model.exports import ExportFormat
from dachub.model.storage import StorageArea, StorageMethod, StorageSample
from dachub.reports.formats.apel import MESSAGE_BYTES_MAX
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


async def as_json(*samples: StorageSample) -> bytes:
    return b"".join([part async for part in xdmod_storage(each([(DAY, samples)]), "dac")])


async def as_star(
    *samples: StorageSample,
    settings: ReportSettings = SETTINGS,
    limit_bytes: int = MESSAGE_BYTES_MAX,
) -> list[bytes]:
    return [one async for one in star_messages(each([(DAY, samples)]), settings, limit_bytes)]


async def test_json_for_open_xdmod() -> None:
    first, second = json.loads(await as_json(sample("ada"), sample("x" * 32)))
    assert first == {
        "resource": "dac", "mountpoint": "/home", "user": "ada", "pi": "ada",
        "dt": "2027-03-01T00:00:00Z", "file_count": 3, "logical_usage": 100,
        "physical_usage": 4096,
    }  # fmt: skip
    assert len(second["user"]) == 30
    assert (await as_json(sample("été|\x00 {name}"))).isascii()


async def test_days_one_after_the_other_are_one_array() -> None:
    days = [(DAY, [sample("ada")]), (DAY + timedelta(days=1), [sample("ada"), sample("grace")])]
    parts = [part async for part in xdmod_storage(each(days), "dac")]
    assert len(parts) == 3
    assert read_xdmod_storage(b"".join(parts)) == 3
    assert [part async for part in xdmod_storage(each(()), "dac")] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("user", "x" * 31), ("user", ""), ("pi", None), ("dt", "2027-03-01"), ("file_count", "3"),
     ("file_count", -1), ("logical_usage", 1.5), ("physical_usage", True), ("extra", 1)],
)  # fmt: skip
async def test_a_record_that_open_xdmod_would_skip_is_refused(key: str, value: object) -> None:
    record = json.loads(await as_json(sample("ada")))[0]
    with pytest.raises(InvalidRecord):
        read_xdmod_storage(json.dumps([{**record, key: value}]).encode())


async def test_two_records_for_one_place_and_day_are_refused() -> None:
    with pytest.raises(InvalidRecord, match="two storage records for one"):
        await as_json(sample("ada"), sample("ada"))


async def test_star_says_who_and_how_much() -> None:
    samples = (sample("ada"), sample("lensing", area=StorageArea.GROUP))
    (message,) = await as_star(*samples)
    assert read_star(message) == 2
    root = ElementTree.fromstring(message)
    texts = {child.tag.split("}")[1]: child.text for child in root[1].iter() if child.text}
    assert texts == {
        "StorageSystem": "dachub", "Site": "dachub", "StorageShare": "group", "FileCount": "3",
        "LocalGroup": "lensing", "Group": "dachub", "StartTime": "2027-03-01T00:00:00Z",
        "EndTime": "2027-03-02T00:00:00Z", "ResourceCapacityUsed": "4096",
        "LogicalCapacityUsed": "100",
    }  # fmt: skip
    assert await as_star(*samples) == [message]  # the same ids again
    (unnamed,) = await as_star(*samples, settings=ReportSettings(apel_usernames=False))
    assert b"ada" not in unnamed


async def test_star_keeps_names_that_look_like_tags() -> None:
    (message,) = await as_star(sample("<a&b>"))
    owner = ElementTree.fromstring(message).find(f".//{{{STAR}}}LocalUser")
    assert owner is not None
    assert owner.text == "<a&b>"


async def test_star_messages_stay_below_the_limit() -> None:
    found = await as_star(*(sample(f"user-{number}") for number in range(50)), limit_bytes=8000)
    assert all(len(message) < 8000 for message in found)
    assert sum(read_star(message) for message in found) == 50


@pytest.mark.parametrize(
    ("old", "new"),
    [("4096", "-1"), ("4096", "4.5"), ("FileCount", "Filecount"), ("recordId", "recordid"),
     ("2027-03-02T00", "2027-03-01T00"), (STAR, "http://example.org/other")],
)  # fmt: skip
async def test_a_wrong_star_record_is_refused(old: str, new: str) -> None:
    (message,) = await as_star(sample("ada"))
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
        (text,) = await content(factory, outcome.run)
        name = outcome.run.files[0].name
        assert name.endswith(".json" if text.startswith(b"[") else ".xml")
