"""What the platform tells people of its own accord."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class NoticeKind(StrEnum):
    """What a notice is about; people choose by kind how they get them."""

    QUOTA = "quota"  # computing time: nearly spent, spent, granted
    STOP = "stop"  # a running server will be stopped, or was
    MAINTENANCE = "maintenance"  # the same, because its machine is taken out of service
    STORAGE = "storage"  # space: nearly full, over quota
    REQUEST = "request"  # somebody asked for more, and what became of it
    GROUP = "group"  # memberships, roles, limits
    SOFTWARE = "software"  # versions of environments that go


ALWAYS_IN_PORTAL = frozenset({NoticeKind.STOP, NoticeKind.MAINTENANCE})
"""Kinds that nobody can keep out of the portal: unsaved work is at stake."""


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


class NoticeCount(BaseModel):
    """How a person's notices stand; it changes whenever they do."""

    unread: int
    last_id: int = Field(default=0, description="Of the newest; 0 where there is none")

    @property
    def etag(self) -> str:
        """The same as long as nothing new came and nothing was read."""
        return f'"{self.last_id}-{self.unread}"'


class NoticeList(NoticeCount):
    """Answer to ``GET /api/v1/me/notices``."""

    notices: list[Notice]


class NoticePreference(BaseModel):
    """How a person gets notices of one kind."""

    kind: NoticeKind
    portal: bool = True
    email: bool = True
