"""What people and groups keep on disk: measured, allowed, and what follows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class StorageArea(StrEnum):
    """Where something is kept; together with its owner it names one measured place."""

    HOME = "home"  # of a person
    GROUP = "group"  # the folder of a group
    DATABASE = "database"


class StorageMethod(StrEnum):
    """How a figure was found."""

    WALK = "walk"  # looked at every file
    XFS_QUOTA = "xfs-quota"  # the file system's own count by project
    CEPH = "ceph"  # the file system's own sums by directory
    VOLUME = "volume"  # what is used of a volume that is one person's alone


class StorageState(StrEnum):
    """Where a place stands against its limits."""

    UNKNOWN = "unknown"  # never measured, or too long ago to follow anything from it
    OK = "ok"
    WARNED = "warned"
    OVER = "over"


class Folder(BaseModel):
    """A directory with all that is below it."""

    path: str = Field(description="Below the place; '.' is the place itself")
    allocated_bytes: int
    files: int


class StorageSample(BaseModel):
    """What a place held at one moment.

    ``bytes`` are the lengths of the files, ``allocated_bytes`` what they take on disk: less for
    sparse files, more for many small ones. Limits are about ``allocated_bytes``.
    """

    area: StorageArea
    owner: str = Field(description="Username or slug; of unknown directories the name")
    bytes: int
    allocated_bytes: int
    files: int = Field(description="Files, directories and all else that has a name")
    unreadable: int = Field(default=0, description="What could not be looked at")
    sampled_at: datetime
    method: StorageMethod


class StorageUse(BaseModel):
    """A place now: what it holds, what it may hold, and where it stands."""

    area: StorageArea
    owner: str
    known: bool = Field(description="There is such a person or group")
    sample: StorageSample | None = None
    limit_bytes: int | None = Field(default=None, description="null: no limit")
    limit_files: int | None = Field(default=None, description="null: no limit")
    enforced: bool = Field(default=False, description="The file system itself keeps to the limits")
    state: StorageState = StorageState.UNKNOWN
    message: str = Field(default="", description="For the person; empty while all is well")
    largest: list[Folder] = Field(default=[], description="The largest folders, largest first")
    measured_again_at: datetime | None = Field(
        default=None, description="When somebody asked to measure it anew; null once it was"
    )


class StorageLimit(BaseModel):
    """One appended exception from the site's limits; the latest one holds."""

    area: StorageArea
    owner: str
    bytes: int | None = Field(description="null: as the site's")
    files: int | None = Field(description="null: as the site's")
    reason: str
    author: str
    at: datetime
