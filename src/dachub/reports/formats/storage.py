"""What was stored on a day: JSON for Open XDMoD, StAR XML for APEL."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID, uuid5
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from dachub.model.storage import StorageArea, StorageSample
from dachub.model.units import midnight
from dachub.reports.formats.apel import MESSAGE_BYTES_MAX
from dachub.reports.formats.text import XDMOD_NAME_MAX, packed, plain, xdmod_name
from dachub.reports.models import InvalidRecord
from dachub.reports.settings import ReportSettings

Days = AsyncIterator[tuple[date, Sequence[StorageSample]]]
"""What was stored on each day, in the order of days, each day once."""
STAR = "http://eu-emi.eu/namespaces/2011/02/storagerecord"
RECORD_IDS = UUID("0f0bd9b4-4b3a-4a88-8a52-0b4f6a1e2d10")
"""Namespace of records' ids: the same place and day always make the same id."""
ROOT = "StorageUsageRecords"

_JSON_KEYS = {"resource": str, "mountpoint": str, "user": str, "pi": str, "dt": str,
              "file_count": int, "logical_usage": int, "physical_usage": int}  # fmt: skip
_DAY = re.compile(r"\d{4}-\d\d-\d\dT00:00:00Z\Z", re.ASCII)
_STAR_ORDER = ("RecordIdentity", "StorageSystem", "Site", "StorageShare", "FileCount",
               "SubjectIdentity", "StartTime", "EndTime", "ResourceCapacityUsed",
               "LogicalCapacityUsed")  # fmt: skip
_STAR_WHOLE = ("FileCount", "ResourceCapacityUsed", "LogicalCapacityUsed")
_WHOLE = re.compile(r"(0|[1-9]\d{0,18})\Z", re.ASCII)

_HEAD = f'<?xml version="1.0" encoding="us-ascii"?>\n<sr:{ROOT} xmlns:sr="{STAR}">\n'
_TAIL = f"</sr:{ROOT}>\n"


async def xdmod_storage(days: Days, resource: str) -> AsyncIterator[bytes]:
    """Samples of days as Open XDMoD's storage realm reads them: one file, in parts of a day.

    A home belongs to no campaign: there the person stands in the PI's place.

    Raises
    ------
    InvalidRecord
        If Open XDMoD would skip one, or take two for one.
    """
    before = b"[\n"
    async for day, samples in days:
        records = (json.dumps(_xdmod_record(day, sample, resource)) for sample in samples)
        content = ",\n".join(records).encode("ascii")
        read_xdmod_storage(b"[%b]" % content)
        yield before + content
        before = b",\n"
    if before == b",\n":
        yield b"\n]"


def _xdmod_record(day: date, sample: StorageSample, resource: str) -> dict[str, str | int]:
    return {
        "resource": resource,
        "mountpoint": f"/{sample.area.value}",
        "user": xdmod_name(sample.owner),
        "pi": xdmod_name(sample.owner),
        "dt": f"{day.isoformat()}T00:00:00Z",
        "file_count": sample.files,
        "logical_usage": sample.bytes,
        "physical_usage": sample.allocated_bytes,
    }


def read_xdmod_storage(content: bytes) -> int:
    """Read such a file strictly; returns the number of its records.

    Raises
    ------
    InvalidRecord
    """
    seen = set()
    records = json.loads(content)
    for record in records:
        good = (
            record.keys() == _JSON_KEYS.keys()
            and all(type(record[key]) is kind for key, kind in _JSON_KEYS.items())
            and all(record[key] for key, kind in _JSON_KEYS.items() if kind is str)
            and all(record[key] >= 0 for key, kind in _JSON_KEYS.items() if kind is int)
            and len(record["user"]) <= XDMOD_NAME_MAX
            and len(record["pi"]) <= XDMOD_NAME_MAX
            and _DAY.match(record["dt"]) is not None
        )
        if not good:
            raise InvalidRecord(f"Open XDMoD would skip this storage record: {record}.")
        key = tuple(record[name] for name in ("resource", "mountpoint", "user", "pi", "dt"))
        if key in seen:
            raise InvalidRecord(f"Open XDMoD would take two storage records for one: {key}.")
        seen.add(key)
    return len(records)


async def star_messages(
    days: Days, settings: ReportSettings, limit_bytes: int = MESSAGE_BYTES_MAX
) -> AsyncIterator[bytes]:
    """Samples of days as StAR, in messages below ``limit_bytes``.

    Raises
    ------
    InvalidRecord
    """
    records = (
        _star_record(day, sample, settings) async for day, samples in days for sample in samples
    )
    async for content in packed(records, limit_bytes, head=_HEAD, tail=_TAIL):
        read_star(content)
        yield content


def _star_record(day: date, sample: StorageSample, settings: ReportSettings) -> str:
    begin, end = midnight(day), midnight(day + timedelta(days=1))
    identity = "\0".join((settings.apel_site, sample.area.value, sample.owner, day.isoformat()))
    subject = _element("Group", settings.apel_vo)
    if sample.area is StorageArea.GROUP:
        subject = _element("LocalGroup", plain(sample.owner)) + subject
    elif settings.apel_usernames:
        subject = _element("LocalUser", plain(sample.owner)) + subject
    return (
        "<sr:StorageUsageRecord>"
        f'<sr:RecordIdentity sr:createTime="{_time(end)}"'
        f' sr:recordId="{uuid5(RECORD_IDS, identity)}"/>'
        + _element("StorageSystem", settings.apel_service)
        + _element("Site", settings.apel_site)
        + _element("StorageShare", sample.area.value)
        + _element("FileCount", sample.files)
        + f"<sr:SubjectIdentity>{subject}</sr:SubjectIdentity>"
        + _element("StartTime", _time(begin))
        + _element("EndTime", _time(end))
        + _element("ResourceCapacityUsed", sample.allocated_bytes)
        + _element("LogicalCapacityUsed", sample.bytes)
        + "</sr:StorageUsageRecord>"
    )


def read_star(content: bytes) -> int:
    """Read a message strictly; returns the number of its records.

    Raises
    ------
    InvalidRecord
    """
    if len(content) >= MESSAGE_BYTES_MAX:
        raise InvalidRecord(f"A message of {len(content)} bytes is too large for the transport.")
    root = ElementTree.fromstring(content)  # noqa: S314  our own text
    if root.tag != _tag(ROOT) or not len(root):
        raise InvalidRecord("A StAR message has no records.")
    ids = set()
    for record in root:
        found = tuple(child.tag.removeprefix(f"{{{STAR}}}") for child in record)
        if found != _STAR_ORDER:
            raise InvalidRecord(f"A StAR record has {', '.join(found)}.")
        values = {name: record.findtext(_tag(name)) or "" for name in _STAR_ORDER}
        wrong = [name for name in _STAR_WHOLE if not _WHOLE.match(values[name])]
        if wrong or not values["StorageSystem"] or values["StartTime"] >= values["EndTime"]:
            raise InvalidRecord(f"A StAR record has wrong values: {values}.")
        identity = record[0].get(_tag("recordId"))
        if not identity or identity in ids or not record[0].get(_tag("createTime")):
            raise InvalidRecord("A StAR record has no id of its own.")
        ids.add(identity)
    return len(root)


def _tag(name: str) -> str:
    return f"{{{STAR}}}{name}"


def _element(name: str, value: object) -> str:
    return f"<sr:{name}>{escape(str(value))}</sr:{name}>"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
