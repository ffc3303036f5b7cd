"""APEL's cloud records, version 0.4: ``Key: value`` lines, records separated by ``%%``.

The server keeps one record for each (VMUUID, month, year), and a later one replaces it. Durations
count from the start of the session; what a month is charged is the difference to the month before.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from dachub.accounting.models import ChargedSession
from dachub.model.units import BYTES_PER_MIB, MILLI_CORES_PER_CORE
from dachub.reports.formats.text import packed, plain
from dachub.reports.models import COMPLETED, STARTED, InvalidRecord, Item
from dachub.reports.settings import ReportSettings

HEADER = "APEL-cloud-message: v0.4"
SEPARATOR = "%%"
MESSAGE_BYTES_MAX = 1_000_000
"""A message must stay below this, or the transport refuses it."""
KEYS = (
    "RecordCreateTime", "VMUUID", "SiteName", "CloudComputeService", "MachineName", "LocalUserId",
    "LocalGroupId", "GlobalUserName", "FQAN", "Status", "StartTime", "EndTime", "SuspendDuration",
    "WallDuration", "CpuDuration", "CpuCount", "NetworkType", "NetworkInbound", "NetworkOutbound",
    "PublicIPCount", "Memory", "Disk", "BenchmarkType", "Benchmark", "StorageRecordId", "ImageId",
    "CloudType",
)  # fmt: skip
REQUIRED = frozenset(
    {"RecordCreateTime", "VMUUID", "SiteName", "CloudComputeService", "GlobalUserName", "FQAN",
     "Status", "StartTime", "WallDuration", "CpuDuration", "CpuCount", "ImageId"}
)  # fmt: skip
WHOLE = frozenset(
    {"RecordCreateTime", "StartTime", "EndTime", "SuspendDuration", "WallDuration", "CpuDuration",
     "NetworkInbound", "NetworkOutbound", "PublicIPCount", "Memory", "Disk"}
)  # fmt: skip
DECIMAL = frozenset({"CpuCount", "Benchmark"})
TEXT_MAX = 255
WITHHELD = "withheld"

_TEXT = rf"(?=.{{1,{TEXT_MAX}}}\Z)[!-~](?:[ -~]*[!-~])?\Z"
_READ = {
    **dict.fromkeys(KEYS, re.compile(_TEXT)),
    **dict.fromkeys(WHOLE, re.compile(r"(?:0|[1-9]\d{0,17})\Z", re.ASCII)),
    **dict.fromkeys(DECIMAL, re.compile(r"(?:0|[1-9]\d{0,6})(?:\.\d{1,3})?\Z", re.ASCII)),
    "VMUUID": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"),
    "FQAN": re.compile(rf"(?=/[^/]+(?:/[^/=]+)*(?:/Role=[^/]+)?(?:/Capability=[^/]+)?\Z){_TEXT}"),
    "Status": re.compile(rf"(?:{STARTED}|{COMPLETED}|suspended)\Z"),
}
"""How the values look that the server reads as they are meant."""
_NULLS = frozenset({"none", "null", ""})


def cloud_record(session: ChargedSession, item: Item, settings: ReportSettings) -> str:
    """The record of a session as it stood at ``item.measured_at``; not yet checked."""
    name = session.username if settings.apel_usernames else WITHHELD
    completed = item.status == COMPLETED
    values: dict[str, object] = {
        # The month that a record counts for is the one in which this second lies.
        "RecordCreateTime": _epoch(item.measured_at) - (0 if completed else 1),
        "VMUUID": session.session_id,
        "SiteName": settings.apel_site,
        "CloudComputeService": settings.apel_service,
        "MachineName": _text(session.server_name) or "default",
        "LocalUserId": name,
        "LocalGroupId": session.group,
        "GlobalUserName": name,
        "FQAN": f"/{settings.apel_vo}/{session.group}/Role=NULL/Capability=NULL",
        "Status": item.status,
        "StartTime": _epoch(item.started_at),
        "WallDuration": item.seconds,
        "CpuDuration": item.milli_core_seconds // MILLI_CORES_PER_CORE,
        "CpuCount": f"{Decimal(_milli_cores(session, item)) / MILLI_CORES_PER_CORE:.3f}",
        "Memory": -(-session.memory_bytes // BYTES_PER_MIB),
        "ImageId": _text(session.environment) or "unknown",
        "CloudType": "dachub",
    }
    if completed:
        values["EndTime"] = _epoch(item.measured_at)
    if settings.apel_benchmark_type:
        values["BenchmarkType"] = settings.apel_benchmark_type
        values["Benchmark"] = f"{settings.apel_benchmark:.3f}"
    return "".join(f"{key}: {values[key]}\n" for key in KEYS if key in values)


@dataclass(frozen=True, slots=True)
class Measured:
    """What APEL's server reads in a record."""

    uuid: str
    user: str
    group: str
    status: str
    month: tuple[int, int]
    wall_seconds: int
    cpu_seconds: int
    cores: Decimal


def read_record(text: str) -> Measured:
    """Read a record as the server does, but refuse what it would reject or misplace.

    Raises
    ------
    InvalidRecord
        Naming the key and what is wrong.
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        if not colon or key not in KEYS:
            raise InvalidRecord(f"A cloud record has the line '{line[:60]}', which APEL refuses.")
        if key in values:
            raise InvalidRecord(f"A cloud record has {key} twice.")
        values[key] = value
    _check_values(values)
    status = values["Status"]
    start, created = int(values["StartTime"]), int(values["RecordCreateTime"])
    measured = created
    if status == COMPLETED:
        if "EndTime" not in values:
            raise InvalidRecord("A completed cloud record has no EndTime.")
        measured = int(values["EndTime"])
    elif "EndTime" in values:
        raise InvalidRecord("A cloud record that is not completed has an EndTime.")
    wall, cpu = int(values["WallDuration"]), int(values["CpuDuration"])
    cores = Decimal(values["CpuCount"])
    # Where cores changed, their average is rounded to thousandths.
    if abs(cpu - int(wall * cores)) > wall // 2000 + 1:
        raise InvalidRecord(f"A cloud record has CpuDuration {cpu} for {wall} s of {cores} cores.")
    if start == 0 or (wall and wall > measured + 1 - start):
        raise InvalidRecord(f"A cloud record has {wall} s between {start} and {measured}.")
    at = datetime.fromtimestamp(measured, UTC)
    return Measured(
        values["VMUUID"],
        values["GlobalUserName"],
        values["FQAN"].split("/")[2],
        status,
        (at.year, at.month),
        wall,
        cpu,
        cores,
    )


def _check_values(values: dict[str, str]) -> None:
    missing = REQUIRED - values.keys()
    if missing:
        raise InvalidRecord(f"A cloud record has no {', '.join(sorted(missing))}.")
    for key, value in values.items():
        if _READ[key].match(value) is None or value.lower() in _NULLS or SEPARATOR in value:
            raise InvalidRecord(f"A cloud record cannot have '{value[:60]}' as {key}.")


async def messages(
    records: AsyncIterator[str], limit_bytes: int = MESSAGE_BYTES_MAX
) -> AsyncIterator[bytes]:
    """Records as messages that each stay below ``limit_bytes``, and are read again.

    Raises
    ------
    InvalidRecord
    """
    ended = (f"{record}{SEPARATOR}\n" async for record in records)
    async for content in packed(ended, limit_bytes, head=f"{HEADER}\n"):
        read_message(content)
        yield content


def read_message(content: bytes) -> list[Measured]:
    """Read a whole message.

    Raises
    ------
    InvalidRecord
    """
    if len(content) >= MESSAGE_BYTES_MAX:
        raise InvalidRecord(f"A message of {len(content)} bytes is too large for the transport.")
    try:
        header, _, text = content.decode("ascii").partition("\n")
    except UnicodeDecodeError as error:
        raise InvalidRecord("A message has characters other than ASCII.") from error
    if header != HEADER:
        raise InvalidRecord(f"A message begins with '{header[:60]}'.")
    records = text.split(f"{SEPARATOR}\n")
    if len(records) < 2 or records[-1]:
        raise InvalidRecord("A message has no records, or one that does not end.")
    return [read_record(record) for record in records[:-1]]


def _milli_cores(session: ChargedSession, item: Item) -> int:
    """The average, where they changed."""
    if not item.seconds:
        return session.milli_cores
    return (item.milli_core_seconds + item.seconds // 2) // item.seconds


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def _text(text: str) -> str:
    """Text as a value: ASCII, no separator, not taken for nothing."""
    value = plain(text, forbidden="%").strip()[:TEXT_MAX]
    return f"{value}_" if value.lower() in _NULLS and value else value
