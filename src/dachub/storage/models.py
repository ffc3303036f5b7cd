"""Plain values of storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from dachub.model.problems import DachubError
from dachub.model.storage import Folder, StorageArea, StorageMethod, StorageSample


class ResampledJustNow(DachubError):
    """The place was measured, or is being measured, so lately that it would tell nothing new."""

    code = "resampled-just-now"
    status = 429


class NotMeasured(DachubError):
    """There is nothing to measure for that owner."""

    code = "storage-not-measured"
    status = 404


@dataclass(frozen=True, slots=True)
class Place:
    """A place that is measured, with its last sample.

    Attributes
    ----------
    enforced
        The file system itself holds it to its limits.
    told_percent, told_count
        The highest threshold that people were told of, and how often they were told anything.
    """

    area: StorageArea
    owner: str
    known: bool = True
    present: bool = False
    enforced: bool = False
    sample: StorageSample | None = None
    tried_at: datetime | None = None
    requested_at: datetime | None = None
    largest: Sequence[Folder] = ()
    told_percent: int = 0
    told_count: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a place may hold; ``None`` is no limit.

    Attributes
    ----------
    bytes_bind
        Whether anything follows when it holds more bytes; else people are only told.
    """

    bytes: int | None
    files: int | None
    bytes_bind: bool = True

    def that_bind(self) -> Limits:
        """Those from which something follows."""
        return self if self.bytes_bind else Limits(None, self.files)


class Measurement(BaseModel):
    """What a place holds, as :class:`dachub.model.storage.StorageSample` tells it."""

    method: StorageMethod
    bytes: int
    allocated_bytes: int
    files: int
    unreadable: int = 0
    largest: list[Folder] = []


class Allowed(BaseModel):
    """What the file system is told that a place may hold; ``None`` is no limit."""

    model_config = ConfigDict(frozen=True)

    bytes: int | None = None
    files: int | None = None


class SamplingJob(BaseModel):
    """What a sampling process is told, as JSON on its standard input.

    Attributes
    ----------
    only
        ``area/owner`` of the places to measure, in this order; ``None``: all that are due.
    tried_at
        When each place was last looked at, by ``area/owner``.
    defaults, allowed
        Limits to set where the file system can enforce them: by area, and of single places.
    """

    areas: dict[StorageArea, Path]
    state: Path
    method: str
    processes: int
    files_per_second: int
    turn_seconds: float
    only: list[str] | None = None
    tried_at: dict[str, datetime] = {}
    due_before: datetime | None = None
    defaults: dict[StorageArea, Allowed] = {}
    allowed: dict[str, Allowed] = {}


class ReportKind(StrEnum):
    """What a line of a sampling process tells."""

    LISTED = "listed"  # which places of an area there are
    MEASURED = "measured"
    UNFINISHED = "unfinished"  # the turn was over; the next one goes on there
    ADVANCED = "advanced"  # a walk goes on; its files so far
    FAILED = "failed"


class SamplingReport(BaseModel):
    """One line of a sampling process, as JSON on its standard output."""

    kind: ReportKind
    area: StorageArea
    owner: str = ""
    owners: list[str] = []
    measurement: Measurement | None = None
    enforced: bool = False
    files: int = 0
    text: str = ""


def place_key(area: StorageArea, owner: str) -> str:
    """``area/owner``: names one place among all."""
    return f"{area.value}/{owner}"
