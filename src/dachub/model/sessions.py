"""Sessions and the events that tell the ledger of them."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from dachub.model.names import GroupSlug, Username
from dachub.model.software import IMAGE_MAX
from dachub.model.units import whole_second

Moment = Annotated[AwareDatetime, AfterValidator(whole_second)]
"""A moment in UTC, cut to the whole second."""


def new_session_id() -> UUID:
    """An id that sorts by the millisecond in which it was made (UUID version 7, RFC 9562).

    So sessions of a day lie side by side in the ledger's indexes. With ids at random each one
    touched pages of its own, and a ledger of years had to write ten times as much.
    """
    return session_id_of(time.time_ns() // 1_000_000, secrets.randbits(74))


def session_id_of(milliseconds: int, chance: int) -> UUID:
    """The id of a moment since 1970 and 74 bits drawn at random."""
    moment = milliseconds & (1 << 48) - 1
    return UUID(
        int=moment << 80 | 7 << 76 | chance >> 62 << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    )


class Kind(StrEnum):
    """What kind of work a session is."""

    NOTEBOOK = "notebook"
    DASK = "dask"
    SPARK = "spark"
    BATCH = "batch"


class EndReason(StrEnum):
    """Why a session ended."""

    STOPPED = "stopped"  # by the person, an administrator, or because it was idle
    EXITED = "exited"  # the server's process ended by itself
    FAILED = "failed"  # never became ready: consumes nothing
    LOST = "lost"  # nobody saw the end
    MACHINE_LOST = "machine-lost"  # it ended with the machine it ran on
    TIME_LIMIT = "time-limit"  # a rescue session had its time
    # Stopped by the service; the hub tells of a stop, and why is what the stop was scheduled for.
    LEFT_GROUP = "left-group"
    DISABLED = "disabled"
    QUOTA = "quota"
    MAINTENANCE = "maintenance"


class SessionDescription(BaseModel):
    """What is fixed about a session from the moment it is requested."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_id: UUID
    username: Username
    group: GroupSlug
    kind: Kind = Kind.NOTEBOOK
    server_name: str = Field(default="", max_length=255)
    size: str = Field(max_length=63)
    environment: str = Field(
        max_length=63, description="With its version, as astronomy:2026-11-20, where it has several"
    )
    image: str | None = Field(
        default=None,
        max_length=IMAGE_MAX,
        pattern=r"^[!-~]+$",
        description="The one that the person brought, where they did",
    )
    milli_cores: int = Field(ge=0, le=2**31 - 1)
    memory_bytes: int = Field(ge=0, le=2**62)
    gpus: int = Field(default=0, ge=0, le=2**15)
    requested_at: Moment


class EventKind(StrEnum):
    """What happened to a session."""

    REQUESTED = "requested"
    STARTED = "started"
    STOPPED = "stopped"
    FAILED = "failed"


class SessionEvent(BaseModel):
    """One event in the life of a session.

    Every event carries all that is known of the session, so that the ledger ends up the same
    whatever the order, repetition or loss of others. ``at`` is when it happened, never when it
    was sent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: UUID
    kind: EventKind
    session: SessionDescription
    at: Moment
    started_at: Moment | None = Field(
        default=None, description="When the server was ready; known from *started* on"
    )
    image_digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="Of the image that runs; from *started*, where a cluster told",
    )
    end_reason: EndReason | None = None
    end_is_estimate: bool = Field(
        default=False, description="True where the end was not seen, only concluded"
    )


class EventBatch(BaseModel):
    """Body of ``POST /api/v1/events``."""

    events: list[SessionEvent] = Field(max_length=1000)


class RefusedEvent(BaseModel):
    """An event the ledger cannot take, ever; sending it again is no use."""

    event_id: UUID
    code: str
    detail: str


class EventReceipt(BaseModel):
    """Answer to a batch: everything not refused is in the ledger, durably."""

    accepted: int
    refused: list[RefusedEvent] = []


class CorrectionAction(StrEnum):
    """What a correction does to what a session is charged."""

    VOID = "void"  # nothing is charged
    AMEND = "amend"  # another start, another end, or both
    RESTORE = "restore"  # as it was reported


class Correction(BaseModel):
    """An appended correction of what a session is charged; of several the latest holds."""

    model_config = ConfigDict(frozen=True)

    action: CorrectionAction
    started_at: Moment | None = Field(
        default=None, description="Charged from then on; as reported where not given"
    )
    ended_at: Moment | None = Field(
        default=None, description="Charged up to then; as reported where not given"
    )
    reason: str
    author: str
    at: datetime


class SessionRecord(BaseModel):
    """A session as the ledger charges it; fields are named as the ledger's columns.

    Where a correction amends it, ``started_at`` and ``ended_at`` are those of the correction. A
    voided session keeps its times, and is charged nothing.
    """

    session_id: UUID
    export_id: int
    username: str
    group: str
    kind: Kind
    server_name: str
    size: str
    environment: str
    image: str | None = None
    image_digest: str | None = None
    milli_cores: int
    memory_bytes: int
    gpus: int
    requested_at: datetime
    started_at: datetime | None
    start_is_estimate: bool = False
    ended_at: datetime | None
    end_reason: EndReason | None
    end_is_estimate: bool
    last_seen_at: datetime | None
    stop_due_at: datetime | None = None
    stop_due_reason: str | None = None
    maintenance_at: datetime | None = Field(
        default=None, description="When its machine is taken out of service"
    )
    state: Literal["requested", "running", "ended"]
    core_seconds: float = Field(description="Cores x seconds so far; exact to three decimals")
    correction: Correction | None = Field(default=None, description="The latest, if there is any")
    reported_started_at: datetime | None = Field(
        default=None, description="What was reported, where a correction says otherwise"
    )
    reported_ended_at: datetime | None = Field(
        default=None, description="What was reported, where a correction says otherwise"
    )

    def goes_on_until(self, moment: datetime) -> bool:
        """Whether it has no notice for another reason that ends it by then.

        A stop for maintenance gives way to an earlier one, and holds again when that is lifted.
        """
        return self.stop_due_at is None or (
            self.stop_due_reason == EndReason.MAINTENANCE and moment < self.stop_due_at
        )

    @property
    def is_void(self) -> bool:
        """Whether an administrator decided that it is charged nothing."""
        return self.correction is not None and self.correction.action is CorrectionAction.VOID
