"""Plain values of the ledger; the merge of what is known of a session's life is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel

from dachub.model.problems import Conflict, InvalidInput
from dachub.model.sessions import Correction, CorrectionAction, EndReason, SessionDescription

CONCLUDED = (EndReason.LOST, EndReason.FAILED)
"""Reasons of an estimated end that was only concluded from absence: the weakest kind."""


class InvalidPeriod(InvalidInput):
    """A period that ends before it begins, or lies outside what can be accounted."""

    code = "invalid-period"


class SessionNotStarted(Conflict):
    """A correction of a session for which nothing is charged."""

    code = "session-not-started"


class SessionRunning(Conflict):
    """A correction of the end of a session that has not ended."""

    code = "session-running"


class SessionChangedSize(Conflict):
    """A correction of a session with several segments, which has no single start and end."""

    code = "session-changed-size"


class CorrectionChangesNothing(Conflict):
    """A correction that says what holds already."""

    code = "correction-changes-nothing"


@dataclass(frozen=True, slots=True)
class Start:
    """When a server was ready; exact where the hub saw it."""

    at: datetime
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """When and why a session ended; exact where the end was seen."""

    at: datetime
    reason: EndReason
    is_estimate: bool = False

    @property
    def _weight(self) -> tuple[int, float, str]:
        """Smaller wins: the earliest exact, else the latest estimate, else the latest concluded."""
        if not self.is_estimate:
            return (0, self.at.timestamp(), self.reason)
        rank = 1 + self.is_concluded + (self.is_concluded and self.reason is EndReason.FAILED)
        return (rank, -self.at.timestamp(), self.reason)

    @property
    def is_concluded(self) -> bool:
        """Whether it was only concluded from the server's absence."""
        return self.is_estimate and self.reason in CONCLUDED


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a session's life, as it was reported.

    :meth:`merge` is commutative, associative and idempotent, so the ledger ends up the same in
    whatever order, and however often, it is told:

    - of starts an exact one counts before an estimated one, then the earliest;
    - of ends an exact one counts first (the earliest), then an estimated one (the latest), then one
      that was only concluded (the latest, and only until the server is seen alive again);
    - of images the smallest digest, though a session starts with one only.
    """

    start: Start | None = None
    end: End | None = None
    seen_at: datetime | None = None
    image_digest: str | None = None

    def merge(self, other: Life) -> Life:
        """What is known when both are."""
        starts = [start for start in (self.start, other.start) if start is not None]
        ends = [end for end in (self.end, other.end) if end is not None]
        seen = [at for at in (self.seen_at, other.seen_at) if at is not None]
        start = min(starts, key=lambda start: (start.is_estimate, start.at), default=None)
        end = min(ends, key=lambda end: end._weight, default=None)
        seen_at = max(seen, default=None)
        if end is not None and end.is_concluded:
            started_after_all = start is not None and end.reason is EndReason.FAILED
            if started_after_all or (seen_at is not None and seen_at > end.at):
                end = None
        digests = [one for one in (self.image_digest, other.image_digest) if one is not None]
        return Life(start, end, seen_at, min(digests, default=None))

    @property
    def ended_at(self) -> datetime | None:
        """When it ended for what is charged: never before its start, whatever the clocks said."""
        if self.end is None:
            return None
        return self.end.at if self.start is None else max(self.start.at, self.end.at)


@dataclass(frozen=True, slots=True)
class Charged:
    """The stretch [since, until) that a session is charged; open while it runs."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Counted:
    """The stretch [since, until) of a segment that ``usage_day`` holds."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch [started_at, ended_at) of a session that is charged; open while it runs."""

    started_at: datetime
    ended_at: datetime | None
    milli_cores: int


@dataclass(frozen=True, slots=True)
class ChargedSession:
    """A session that started, as accounting systems are told of it.

    Its segments are in the order of time; a voided session has one without length.
    """

    session_id: UUID
    export_id: int
    username: str
    group: str
    kind: str
    server_name: str
    size: str
    environment: str
    milli_cores: int
    memory_bytes: int
    gpus: int
    requested_at: datetime
    end_reason: EndReason | None
    segments: Sequence[Segment]


@dataclass(slots=True)
class Entry:
    """A session in the ledger, with its segment as far as there is one.

    ``life`` is what was reported, ``correction`` the latest; together they say what is charged.
    """

    description: SessionDescription
    life: Life = Life()
    correction: Correction | None = None
    stored: bool = False
    segment_id: int | None = None
    counted: Counted | None = None

    @property
    def charged(self) -> Charged | None:
        """What is charged: what was reported, unless a correction says otherwise."""
        if self.life.start is None:
            return None
        since, until = self.life.start.at, self.life.ended_at
        match self.correction:
            case Correction(action=CorrectionAction.VOID):
                until = since
            case Correction(action=CorrectionAction.AMEND) as amended:
                since, until = amended.started_at or since, amended.ended_at or until
        return Charged(since, until and max(since, until))


@dataclass(frozen=True, slots=True, order=True)
class UsageKey:
    """What ``usage_day`` is kept by, and with the first of the month as day ``usage_month``."""

    day: date
    username: str
    group: str
    kind: str
    size: str
    environment: str

    @classmethod
    def of(cls, day: date, description: SessionDescription) -> UsageKey:
        """The key under which a session's usage of a day is kept."""
        return cls(
            day,
            description.username,
            description.group,
            description.kind.value,
            description.size,
            description.environment,
        )


@dataclass(slots=True)
class Amounts:
    """Usage in integers."""

    milli_core_seconds: int = 0
    memory_byte_seconds: int = 0
    gpu_seconds: int = 0

    def __neg__(self) -> Amounts:
        return Amounts(-self.milli_core_seconds, -self.memory_byte_seconds, -self.gpu_seconds)

    def add(self, description: SessionDescription, seconds: int) -> None:
        """Add ``seconds`` (may be negative) with the session's resources."""
        self.milli_core_seconds += seconds * description.milli_cores
        self.memory_byte_seconds += seconds * description.memory_bytes
        self.gpu_seconds += seconds * description.gpus


@dataclass(frozen=True, slots=True)
class UsageDifference:
    """A sum by day or month that is not what it is the sum of, in milli-core-seconds.

    Of the key is empty what the table is not kept by.
    """

    table: str
    key: UsageKey
    counted: int
    expected: int


@dataclass(frozen=True, slots=True)
class Span:
    """Whose usage in [since, until) is asked for: a group's, or one person's in it."""

    group: str
    since: datetime
    until: datetime
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What a person runs on a group at the moment; also what that consumes in a second."""

    group: str
    username: str
    milli_cores: int
    memory_bytes: int
    gpus: int


class ActiveServer(BaseModel):
    """A server that the hub says is running or starting.

    ``session`` and ``started_at`` are what the hub keeps in the server's state; a server that was
    started without the ledger has none. ``waits``: it was asked for, and nothing runs yet.
    """

    username: str
    server_name: str = ""
    ready: bool
    waits: bool = False
    session_id: UUID | None = None
    session: SessionDescription | None = None
    started_at: datetime | None = None
    hub_started_at: datetime | None = None
    last_activity_at: datetime | None = None


@dataclass(slots=True)
class ReconcileOutcome:
    """What a comparison of the ledger with the hub found and did."""

    SKIPPED: ClassVar[str] = "another process is reconciling"
    skipped: bool = False
    seen: int = 0
    adopted: list[UUID] = field(default_factory=list)
    reopened: list[UUID] = field(default_factory=list)
    lost: list[UUID] = field(default_factory=list)
    failed: list[UUID] = field(default_factory=list)
    absent: list[UUID] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """On one line, for people."""
        if self.skipped:
            return self.SKIPPED
        parts = [f"{self.seen} running"]
        names = ("adopted", "reopened", "lost", "failed", "absent", "unaccounted")
        parts += [f"{len(found)} {name}" for name in names if (found := getattr(self, name))]
        if self.contradictions:
            parts.append(f"{len(self.contradictions)} ended but still active")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """When a background worker last succeeded, and what it found."""

    name: str
    succeeded_at: datetime
    outcome: str
    is_clean: bool = True
