"""What the platform tells people of its own accord."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class NoticeKind(StrEnum):
    """What a notice is about; people choose by kind how they get them."""

    QUOTA = "quota"  # computing time: nearly spent, spent, granted
    STOP = "stop"  # a running server will be stopped, or was
    STORAGE = "storage"  # space: nearly full, over quota
    REQUEST = "request"  # somebody asked for more, and what became of it
    GROUP = "group"  # memberships, roles, limits


class Severity(StrEnum):
    """How much a notice presses."""

    INFO = "info"
    WARNING = "warning"
    URGENT = "urgent"


class Notice(BaseModel):
    """A notice to one person."""

    notice_id: int
    username: str
    kind: NoticeKind
    severity: Severity
    title: str
    text: str
    group: str | None = None
    path: str = Field(default="", description="Page of the portal that says more, below its base")
    created_at: datetime
    read_at: datetime | None = None
