"""How many cores may run at once, and the queue of those whose server waits for cores."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import Username

WAITING_MAX = 10_000
"""So many servers of a hub are asked for with one request."""
MILLI_CORES_MAX = 2**31 - 1
"""More than this no site has; it serves as "no limit" for a group that shall have none."""


class WaitsFor(StrEnum):
    """What must become free before a server starts."""

    SITE = "site"
    GROUP = "group"


class Place(BaseModel):
    """A place in the queue.

    ``number`` counts those whose turn comes before, of all (``waiting``) who wait for the same.
    """

    number: int = Field(ge=1, description="1 is next")
    waiting: int = Field(ge=1)
    waits_for: WaitsFor
    message: str = Field(description="For the person: where, why, what happens next")


class QueueRequest(BaseModel):
    """Body of ``POST /hub/queue``: all that wait at a hub, and those who wait no longer."""

    model_config = ConfigDict(extra="forbid")

    waiting: list[UUID] = Field(default=[], max_length=WAITING_MAX)
    left: list[UUID] = Field(
        default=[], max_length=WAITING_MAX, description="They gave up, or may not start after all"
    )


class QueueAnswer(BaseModel):
    """Places of those who go on waiting; for the others the hub asks for a decision anew."""

    places: dict[UUID, Place] = {}


class CoreLimit(BaseModel):
    """An appended limit of how many cores may run at once; of several the latest holds."""

    model_config = ConfigDict(frozen=True)

    limit_id: int
    group: str | None = Field(description="null: the whole site")
    milli_cores: int | None = Field(description="null: as configured again")
    reason: str
    author: str
    at: datetime


class CoresInUse(BaseModel):
    """Cores of the site, or of a group, at a moment.

    ``in_use`` has servers that run or start, and permits of those that are about to.
    """

    group: str | None = Field(default=None, description="null: the whole site")
    in_use_milli_cores: int
    limit_milli_cores: int | None = Field(default=None, description="null: there is none")
    waiting: int = Field(default=0, description="How many servers wait for exactly these cores")


class WaitingStart(BaseModel):
    """A server that waits."""

    username: Username
    group: str
    milli_cores: int
    asked_at: datetime
    place: Place


class CoresReport(BaseModel):
    """Cores of the site and of each group that uses or limits some, and who waits for them."""

    site: CoresInUse
    groups: list[CoresInUse] = []
    queue: list[WaitingStart] = []
    granted: int = Field(default=0, description="Servers that are about to start")
