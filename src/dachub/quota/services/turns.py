"""Whose turn it is: a pure function of who asked in which order, what is in use, and the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dachub.model.queue import WaitsFor
from dachub.quota.models import CoreLimits, Permit

Line = tuple[WaitsFor, str]
"""What people wait for: the site's cores (an empty name), or those of a group."""
SITE: Line = (WaitsFor.SITE, "")


@dataclass(slots=True)
class Turns:
    """What comes of it.

    Attributes
    ----------
    granted
        They get their cores now.
    lines
        Those who wait, by what they wait for, in their order.
    too_large
        They would wait for ever.
    in_use
        Milli-cores by group, with what was granted.
    """

    in_use: dict[str, int]
    granted: list[Permit] = field(default_factory=list)
    lines: dict[Line, list[Permit]] = field(default_factory=dict)
    too_large: list[Permit] = field(default_factory=list)


def group_limit(permit: Permit, limits: CoreLimits) -> int | None:
    """What its group may run at once; who must make room is not held up by that."""
    return None if permit.is_rescue else limits.of(permit.group)


def is_too_large(permit: Permit, limits: CoreLimits) -> bool:
    """Whether it would not fit if nothing else ran."""
    of_group = group_limit(permit, limits)
    return any(
        limit is not None and permit.milli_cores > limit for limit in (limits.site, of_group)
    )


def turns(waiting: Sequence[Permit], in_use: Mapping[str, int], limits: CoreLimits) -> Turns:
    """Give out what is free, first come first served.

    Who waits for the site holds up all who asked later, also smaller ones: else a large server
    would never start. Who waits for the limit of a group holds up that group alone.

    Parameters
    ----------
    waiting
        In the order in which they asked.
    in_use
        Milli-cores by group, with permits that were granted before.
    """
    outcome = Turns(dict(in_use))
    total = sum(in_use.values())
    for permit in waiting:
        group, wanted = permit.group, permit.milli_cores
        used, limit = outcome.in_use.get(group, 0), group_limit(permit, limits)
        line: Line = (WaitsFor.GROUP, group)
        if is_too_large(permit, limits):
            outcome.too_large.append(permit)
        elif limit is not None and (line in outcome.lines or used + wanted > limit):
            outcome.lines.setdefault(line, []).append(permit)
        elif limits.site is not None and (SITE in outcome.lines or total + wanted > limits.site):
            outcome.lines.setdefault(SITE, []).append(permit)
        else:
            outcome.granted.append(permit)
            outcome.in_use[group] = used + wanted
            total += wanted
    return outcome
