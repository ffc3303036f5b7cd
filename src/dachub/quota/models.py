"""Plain values of allocations and quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from dachub.model.allocations import MemberLimit
from dachub.model.problems import ChoiceRefused, Conflict, InvalidInput
from dachub.model.site import Size
from dachub.model.software import NO_OWN_IMAGES, Environment, OwnImages
from dachub.model.usage import QuotaPolicy, QuotaState, Resource


class InvalidAmount(InvalidInput):
    """An amount that is no number, not whole in the base unit, or out of range."""

    code = "invalid-amount"


class AllocationBelowZero(Conflict):
    """An adjustment that would leave an allocation with less than nothing."""

    code = "allocation-below-zero"


class RequestDecided(Conflict):
    """The request was decided or withdrawn before."""

    code = "request-decided"


class NoAllocationInForce(Conflict):
    """There is no allocation that could grow."""

    code = "no-allocation-in-force"


class NoOwnLimit(Conflict):
    """The member has no limit of their own that could be raised."""

    code = "no-own-limit"


class TooManyRequests(Conflict):
    """More requests of the group wait than anybody reads."""

    code = "too-many-requests"


class LargerThanLimit(ChoiceRefused):
    """A server with more cores than may ever run at once."""

    code = "larger-than-limit"


class OwnServersFillLimit(ChoiceRefused):
    """A server that would wait for other servers of the same person."""

    code = "own-servers-fill-limit"


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
    own_images: OwnImages = NO_OWN_IMAGES
    contact: str = "your administrator"
    start_timeout_seconds: int = 120


HOME_FULL = "home-full"
"""The hub found no room in the person's home."""


@dataclass(frozen=True, slots=True)
class RescueReason:
    """Why a person may start a rescue session only; ``message`` is for them."""

    code: str
    message: str


class StartCheck(Protocol):
    """Asked before a server starts; what it finds counts for this start only."""

    async def __call__(self, username: str, group: str) -> RescueReason | None:
        """Why this person, on this group, must make room first; ``None`` where all is well."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A server that waits for cores, or has got them (``granted_at``) and is about to start.

    Attributes
    ----------
    number
        The order in which people asked.
    seen_at
        When its hub last asked for it.
    """

    number: int
    session_id: UUID
    username: str
    server_name: str
    group: str
    milli_cores: int
    is_rescue: bool
    asked_at: datetime
    seen_at: datetime
    granted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """How many milli-cores may run at once; ``None``: no limit.

    Attributes
    ----------
    of_groups
        Groups that have a limit of their own; for others ``of_each_group`` holds.
    """

    site: int | None = None
    of_each_group: int | None = None
    of_groups: Mapping[str, int] = field(default_factory=dict)

    def of(self, group: str) -> int | None:
        """The limit of a group."""
        return self.of_groups.get(group, self.of_each_group)
