"""What is left of overlapping allocations: pure arithmetic, in milli-core-seconds.

Usage is charged to the allocations in force when it happened, the one that ends first being
emptied first; what exceeds them all is charged to the one that ends last. So a top-up that has
expired unused is gone, one that was used up is not charged again, and nothing is charged twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from dachub.accounting.models import Grant


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
    related = _related(grants, now)
    moments = sorted(
        {moment for grant in related for moment in (grant.since, grant.until) if moment < now}
        | {now}
    )
    return [
        (since, until)
        for since, until in pairwise(moments)
        if any(grant.since <= since < grant.until for grant in related)
    ]


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
    related = _related(grants, now)
    in_force = tuple(grant for grant in related if grant.since <= now < grant.until)
    if not in_force:
        return None
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
    later = [grant.since for grant in grants if grant.since > now and grant.amount > 0]
    return Pool(
        grants=in_force,
        since=min(grant.since for grant in in_force),
        allocated=sum(grant.amount for grant in in_force),
        left=sum(left[i] for i, grant in enumerate(related) if grant in in_force),
        next_at=min(later, default=max(grant.until for grant in in_force)),
        next_is_planned=bool(later),
    )


def _related(grants: Sequence[Grant], now: datetime) -> list[Grant]:
    """Those in force now, and those before that overlap them, directly or through others."""
    related = [grant for grant in grants if grant.since <= now < grant.until]
    others = [grant for grant in grants if grant.since <= now and grant not in related]
    while related:
        since = min(grant.since for grant in related)
        joined = [grant for grant in others if grant.until > since]
        if not joined:
            break
        related += joined
        others = [grant for grant in others if grant not in joined]
    return related
