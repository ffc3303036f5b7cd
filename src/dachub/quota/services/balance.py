"""What is left of overlapping allocations: pure arithmetic, for any resource.

Usage is charged to the allocations in force when it happened, the one that ends first being
emptied first; what exceeds them all is charged to the one that ends last. So a top-up that has
expired unused is gone, one that was used up is not charged again, and nothing is charged twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from dachub.quota.models import Grant


@dataclass(frozen=True, slots=True)
class Pool:
    """The allocations in force at a moment, taken together.

    Attributes
    ----------
    since
        When the first of them began.
    next_at
        When the next allocation begins, or, where none is planned, the last in force ends.
    """

    grants: tuple[Grant, ...]
    since: datetime
    allocated: int
    left: int
    next_at: datetime
    next_is_planned: bool


def stretches(grants: Sequence[Grant], now: datetime) -> list[tuple[datetime, datetime]]:
    """Stretches up to ``now`` over which the same allocations are in force, and bear on those now.

    Usage in each of them is what :func:`pool` needs.
    """
    return _stretches(_related(grants, _in_force(grants, now), now), now)


def pool(
    grants: Sequence[Grant],
    used: Sequence[tuple[datetime, int]],
    now: datetime,
) -> Pool | None:
    """What is left now; ``None`` where no allocation is in force.

    Parameters
    ----------
    used
        For each of the :func:`stretches`, its beginning and the usage in it.
    """
    in_force = _in_force(grants, now)
    if not in_force:
        return None
    left = _left(_related(grants, in_force, now), used)
    later = [grant.since for grant in grants if grant.since > now and grant.amount > 0]
    return Pool(
        grants=tuple(in_force),
        since=min(grant.since for grant in in_force),
        allocated=sum(grant.amount for grant in in_force),
        left=sum(left[: len(in_force)]),
        next_at=min(later, default=max(grant.until for grant in in_force)),
        next_is_planned=bool(later),
    )


def stretches_of(grants: Sequence[Grant], one: Grant) -> list[tuple[datetime, datetime]]:
    """As :func:`stretches`, up to the end of ``one`` of the allocations, for :func:`left_of`."""
    return _stretches(_related(grants, [one], one.until), one.until)


def left_of(grants: Sequence[Grant], used: Sequence[tuple[datetime, int]], one: Grant) -> int:
    """What was left of ``one`` of the allocations when it ended; negative if it was overdrawn."""
    return _left(_related(grants, [one], one.until), used)[0]


def _stretches(related: Sequence[Grant], until: datetime) -> list[tuple[datetime, datetime]]:
    moments = sorted(
        {moment for grant in related for moment in (grant.since, grant.until) if moment < until}
        | {until}
    )
    return [
        (since, end)
        for since, end in pairwise(moments)
        if any(grant.since <= since < grant.until for grant in related)
    ]


def _left(related: Sequence[Grant], used: Sequence[tuple[datetime, int]]) -> list[int]:
    """What is left of each after the usage of all stretches was charged."""
    left = [grant.amount for grant in related]
    for since, amount in used:
        order = sorted(
            (i for i, grant in enumerate(related) if grant.since <= since < grant.until),
            key=lambda i: related[i].until,
        )
        for i in order:
            charged = min(amount, max(left[i], 0))
            left[i] -= charged
            amount -= charged
        if order:
            left[order[-1]] -= amount
    return left


def _in_force(grants: Sequence[Grant], now: datetime) -> list[Grant]:
    return [grant for grant in grants if grant.since <= now < grant.until]


def _related(grants: Sequence[Grant], those: Sequence[Grant], until: datetime) -> list[Grant]:
    """``those``, then the ones before ``until`` that overlap them, directly or through others."""
    related = list(those)
    known = {id(grant) for grant in those}
    others = [grant for grant in grants if grant.since < until and id(grant) not in known]
    while related:
        since = min(grant.since for grant in related)
        joined = [grant for grant in others if grant.until > since]
        if not joined:
            break
        related += joined
        others = [grant for grant in others if grant.until <= since]
    return related
