"""How long what is left lasts: pure arithmetic. The methods are written down in docs/quotas.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dachub.model.site import Size
from dachub.model.units import SECONDS_PER_MINUTE, cores
from dachub.model.usage import Policy, SizeForecast
from dachub.quota.services.positions import Position
from dachub.quota.services.wording import clock_time, duration


@dataclass(frozen=True, slots=True)
class _Supply:
    """Something that runs out: what is left of it, and how much of it what runs now takes."""

    left: int
    rate: int
    own: int

    @property
    def alone_seconds(self) -> int:
        """How long it lasts for the new server if nothing else ran."""
        return max(0, self.left) // self.own

    @property
    def lasts_seconds(self) -> int:
        """How long it lasts beside what runs now."""
        return max(0, self.left) // (self.rate + self.own)


def forecast(
    size: Size, positions: Sequence[Position], username: str, now: datetime
) -> SizeForecast:
    """How long a server of ``size`` that ``username`` starts now runs until a limit is reached.

    Parameters
    ----------
    positions
        Of the resources of one group; those that the size does not consume do not count.
    """
    supplies = [supply for position in positions for supply in _supplies(size, position, username)]
    if not supplies:
        return SizeForecast(size=size.name)
    alone = min(supply.alone_seconds for supply in supplies)
    lasts = min(supply.lasts_seconds for supply in supplies)
    ends = [position.pool.next_at for position in positions if position.pool is not None]
    rest = int((min(ends) - now).total_seconds()) if ends else None
    if rest is not None and lasts >= rest:
        return SizeForecast(size=size.name)
    if rest is not None and alone >= rest:
        alone = rest
    if alone < SECONDS_PER_MINUTE:  # that nothing is left is said by the balance's message
        return SizeForecast(size=size.name, alone_seconds=alone, lasts_seconds=lasts)
    reached_at = now + timedelta(seconds=lasts)
    text = f"enough for {duration(alone)}"
    if lasts < alone:
        running = cores(sum(position.milli_cores for position in positions[:1]))
        text += f"; beside what runs now ({running}) for {duration(lasts)}"
    return SizeForecast(
        size=size.name,
        alone_seconds=alone,
        lasts_seconds=lasts,
        reached_at=reached_at,
        text=f"{text}, until {clock_time(reached_at, now)}",
    )


def exhausted_at(position: Position, now: datetime) -> datetime | None:
    """When all is spent at the mean rate of the last 14 days, if that is before the period ends."""
    if position.pool is None or position.pool.left <= 0 or position.recent <= 0:
        return None
    passed_seconds = int((now - position.recent_since).total_seconds())
    rest_seconds = (position.pool.next_at - now).total_seconds()
    seconds = position.pool.left * passed_seconds // position.recent
    return now + timedelta(seconds=seconds) if seconds < rest_seconds else None


def _supplies(size: Size, position: Position, username: str) -> Iterator[_Supply]:
    own = position.resource.rate(size)
    if not own:
        return
    if position.pool is not None and position.policy.when_spent is not Policy.ALLOW:
        yield _Supply(position.pool.left, position.rate, own)
    if (member := position.members.get(username)) is not None:
        yield _Supply(member.limit - member.measured.used, member.rate, own)
