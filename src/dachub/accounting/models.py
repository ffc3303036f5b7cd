"""Plain values of the ledger; the merge of what is known of a session's life is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, Protocol
from uuid import UUID

from pydantic import BaseModel

from dachub.model.allocations import MemberLimit
from dachub.model.problems import Conflict, InvalidInput
from dachub.model.sessions import Correction, CorrectionAction, EndReason, SessionDescription
from dachub.model.site import Environment, Size
from dachub.model.usage import QuotaPolicy, QuotaState, Resource

CONCLUDED = (EndReason.LOST, EndReason.FAILED)
"""Reasons of an estimated end that was only concluded from absence: the weakest kind."""


class InvalidPeriod(InvalidInput):
    """A period that ends before it begins, or lies outside what can be accounted."""

    code = "invalid-period"


class InvalidAmount(InvalidInput):
    """An amount that is no number, not whole in the base unit, or out of range."""

    code = "invalid-amount"


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


class AllocationBelowZero(Conflict):
    """An adjustment that would leave an allocation with less than nothing."""

    code = "allocation-below-zero"


class RequestDecided(Conflict):
    """The request was decided or withdrawn before."""

    code = "request-decided"


class NoAllocationInForce(Conflict):
    """There is no allocation that could grow."""

    code = "no-allocation-in-force"


class TooManyRequests(Conflict):
    """More requests of the group wait than anybody reads."""

    code = "too-many-requests"


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
      that was only concluded (the latest, and only until the server is seen alive again).
    """

    start: Start | None = None
    end: End | None = None
    seen_at: datetime | None = None

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
        return Life(start, end, seen_at)

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
    """A sum by day or month that is not what it is the sum of, in milli-core-seconds."""

    table: str
    key: UsageKey
    counted: int
    expected: int


@dataclass(frozen=True, slots=True)
class Change:
    """An adjustment to be appended to an allocation.

    Attributes
    ----------
    amount
        Base units to add; may be negative.
    ends_at, policy
        The new end and policy, where they change; the first change has both.
    key
        What it is for, if it must not be made twice.
    """

    reason: str
    author: str
    at: datetime
    amount: int = 0
    ends_at: datetime | None = None
    policy: QuotaPolicy | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """An allocation as the arithmetic of pools sees it, in base units of its resource."""

    since: datetime
    until: datetime
    amount: int
    policy: QuotaPolicy


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


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group, or a person within it, was last seen to stand with a resource.

    Attributes
    ----------
    period
        When the period began to which this applies; with another one all begins anew.
    told_percent
        The highest threshold that people were told of.
    spent_at
        When it was first seen to be spent: grace runs from here.
    """

    state: QuotaState = QuotaState.OK
    since: datetime | None = None
    period: datetime | None = None
    told_percent: int = 0
    spent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What bears on how groups stand, besides allocations and usage.

    Attributes
    ----------
    standings
        By group, resource and username; the group's own has an empty one.
    """

    limits: Sequence[MemberLimit]
    standings: Mapping[tuple[str, Resource, str], Standing]
    rates: Sequence[Rate]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a run of the enforcement saw of clocks and reconciliations.

    Attributes
    ----------
    doubt
        Why nothing is enforced for the time being; empty where all can be trusted.
    needs_a_person
        Whether the doubt passes only when an administrator says so.
    reconciliations
        Clean ones since the doubt arose.
    reconciled_at
        When the last of them was.
    """

    run_at: datetime
    doubt: str = ""
    doubt_since: datetime | None = None
    needs_a_person: bool = False
    reconciliations: int = 0
    reconciled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Vigil:
    """What a process remembers from one run of the enforcement to the next.

    Attributes
    ----------
    run_at, passed_seconds
        What wall clock and monotonic clock said at the last run.
    noticed
        Session -> what the monotonic clock said when its notice began to count.
    """

    run_at: datetime | None = None
    passed_seconds: float = 0
    noticed: Mapping[UUID, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the site offers and whom people ask, for the decision whether a server may start."""

    sizes: Sequence[Size]
    environments: Sequence[Environment]
    rescue: Size
    contact: str = "your administrator"


@dataclass(frozen=True, slots=True)
class RescueReason:
    """Why a person may start a rescue session only; ``message`` is for them."""

    code: str
    message: str


class StartCheck(Protocol):
    """Asked before a server starts; what it finds counts for this start only."""

    async def __call__(self, username: str, group: str) -> RescueReason | None:
        """Why this person, on this group, must make room first; ``None`` where all is well."""


class ActiveServer(BaseModel):
    """A server that the hub says is running or starting.

    ``session`` and ``started_at`` are what the hub keeps in the server's state; a server that was
    started without the ledger has none.
    """

    username: str
    server_name: str = ""
    ready: bool
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
