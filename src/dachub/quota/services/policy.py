"""The state machine of quotas: pure, so that worker, decision and tests are about one thing.

::

    ok -> warned (75, 90 %) -> spent -> grace (amount, time) -> closed | stopping
     ^                                                             |
     +-------------- more granted, or a new period ---------------+

It is drawn in ``docs/quotas.md``. What is *closed* for ``deny`` is *stopping* for ``stop``; with
``warn`` nothing follows the warning of 100 %, with ``allow`` nothing is told at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from dachub.model.usage import Policy, QuotaPolicy, QuotaState
from dachub.quota.models import Standing

SPENT_PERCENT = 100
ORDER = list(QuotaState)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is used of what is allowed, in base units.

    Attributes
    ----------
    period
        When the period began; ``None`` where no allocation is in force.
    """

    period: datetime | None
    used: int
    allowed: int

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.allowed


class StepKind(StrEnum):
    """What happened to a group or person, of which people are told."""

    WARNED = "warned"  # a threshold was reached
    GRACE = "grace"
    CLOSED = "closed"
    STOPPING = "stopping"
    REOPENED = "reopened"  # servers may start as before


@dataclass(frozen=True, slots=True)
class Step:
    """One step; ``percent`` is the threshold that was reached."""

    kind: StepKind
    percent: int = SPENT_PERCENT


def advance(
    standing: Standing, measured: Measured, policy: QuotaPolicy, now: datetime
) -> tuple[Standing, Sequence[Step]]:
    """Where somebody stands now, and what they are to be told of how they came there.

    Doing it twice is doing it once. What was skipped (nobody looked for a while) is not told
    belatedly: of several thresholds only the highest is.
    """
    known = standing if standing.period == measured.period else Standing(period=measured.period)
    spent_at = min(known.spent_at or now, now) if measured.is_spent else None
    told = _threshold(measured, policy)
    state = _state(measured, policy, told, spent_at, now)
    after = Standing(
        state=state,
        since=(standing.since or now) if state is standing.state else now,
        period=measured.period,
        told_percent=told,
        spent_at=spent_at,
    )
    return after, _steps(standing.state, known.told_percent, after)


def grace_ends_at(standing: Standing, policy: QuotaPolicy) -> datetime | None:
    """When the time of grace ends; ``None`` where only an amount limits it."""
    if not policy.grace_seconds or standing.spent_at is None:
        return None
    return standing.spent_at + timedelta(seconds=policy.grace_seconds)


def grace_amount(allowed: int, policy: QuotaPolicy) -> int:
    """How far ``allowed`` may be exceeded, in base units."""
    return int(allowed * Fraction(policy.grace_percent) / SPENT_PERCENT)


def strictest(policies: Sequence[QuotaPolicy]) -> QuotaPolicy:
    """Of several policies the one that is strictest in the end, then the one with least grace."""
    order = list(Policy)
    return max(
        policies,
        key=lambda policy: (
            order.index(policy.when_spent),
            not (policy.grace_percent or policy.grace_seconds),
            -policy.grace_percent,
            -policy.grace_seconds,
            -policy.stop_notice_seconds,
        ),
    )


def for_members(policy: QuotaPolicy) -> QuotaPolicy:
    """The same for a member's own limit, which at least closes: else it would limit nothing."""
    if policy.when_spent in (Policy.DENY, Policy.STOP):
        return policy
    return policy.model_copy(update={"when_spent": Policy.DENY})


def _threshold(measured: Measured, policy: QuotaPolicy) -> int:
    """The highest threshold that was reached."""
    if policy.when_spent is Policy.ALLOW:
        return 0
    if measured.is_spent:
        return SPENT_PERCENT
    reached = (
        percent
        for percent in policy.warn_at_percent
        if measured.used * SPENT_PERCENT >= measured.allowed * percent
    )
    return max(reached, default=0)


def _state(
    measured: Measured,
    policy: QuotaPolicy,
    told: int,
    spent_at: datetime | None,
    now: datetime,
) -> QuotaState:
    if spent_at is None or policy.when_spent in (Policy.ALLOW, Policy.WARN):
        return QuotaState.WARNED if told else QuotaState.OK
    graces = []
    if policy.grace_percent:
        graces.append(measured.used < measured.allowed + grace_amount(measured.allowed, policy))
    if policy.grace_seconds:
        graces.append(now < spent_at + timedelta(seconds=policy.grace_seconds))
    if graces and all(graces):
        return QuotaState.GRACE
    return QuotaState.STOPPING if policy.when_spent is Policy.STOP else QuotaState.CLOSED


def _steps(before: QuotaState, told_percent: int, after: Standing) -> Sequence[Step]:
    steps = []
    was_held = ORDER.index(before) >= ORDER.index(QuotaState.GRACE)
    is_held = ORDER.index(after.state) >= ORDER.index(QuotaState.GRACE)
    if (not before.may_start and after.state.may_start) or (was_held and not is_held):
        steps.append(Step(StepKind.REOPENED))
    if is_held and after.state is not before:
        steps.append(Step(StepKind(after.state.value)))
    elif not is_held and after.told_percent > told_percent:
        steps.append(Step(StepKind.WARNED, after.told_percent))
    return steps
