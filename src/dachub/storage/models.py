"""Plain values of storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dachub.model.problems import DachubError
from dachub.model.storage import Folder, StorageArea, StorageSample


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
    told_percent, told_count
        The highest threshold that people were told of, and how often they were told anything.
    """

    area: StorageArea
    owner: str
    known: bool
    present: bool
    sample: StorageSample | None
    tried_at: datetime | None
    requested_at: datetime | None
    largest: Sequence[Folder]
    told_percent: int
    told_count: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a place may hold; ``None`` is no limit.

    Attributes
    ----------
    binding
        Whether something follows when it holds more; else people are only told.
    """

    bytes: int | None
    files: int | None
    binding: bool = True
