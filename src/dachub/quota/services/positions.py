"""How resources of groups stand at a moment: read for many groups in a handful of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from dachub.accounting.models import Rate, Span
from dachub.accounting.services import UsageService
from dachub.model.allocations import MemberLimit
from dachub.model.units import day_start
from dachub.model.usage import TIME_RESOURCES, Policy, QuotaPolicy, Resource, Usage
from dachub.quota.models import Grant, Standing
from dachub.quota.services.balance import Pool, pool, stretches
from dachub.quota.services.policy import Measured, advance, for_members, strictest
from dachub.quota.settings import QuotaSettings
from dachub.quota.store.allocations import AllocationStore
from dachub.quota.store.standings import StandingStore

RATE_DAYS = 14
"""The projection goes on as in the last so many days."""

Key = tuple[str, Resource]


@dataclass(frozen=True, slots=True)
class MemberPosition:
    """What a person uses of their own limit in a group.

    Attributes
    ----------
    rate
        Base units that what they run consumes in a second.
    """

    username: str
    limit: int
    measured: Measured
    policy: QuotaPolicy
    rate: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class Position:
    """How a resource of a group stands now; amounts in base units.

    Attributes
    ----------
    pool
        The allocations in force; ``None`` where there is none.
    since
        From when on ``measured.used`` counts.
    rate
        Base units that what the group runs consumes in a second.
    recent, recent_since
        What was used in the last :data:`RATE_DAYS` days of the period.
    """

    group: str
    resource: Resource
    pool: Pool | None
    policy: QuotaPolicy
    since: datetime
    measured: Measured
    rate: int
    milli_cores: int
    recent: int
    recent_since: datetime
    standing: Standing
    members: Mapping[str, MemberPosition] = field(default_factory=dict)


def advanced(position: Position, now: datetime) -> Position:
    """The same with the standings of now, which nobody may have kept yet."""

    def of(one: Position | MemberPosition) -> Standing:
        return advance(one.standing, one.measured, one.policy, now)[0]

    members = {
        username: replace(member, standing=of(member))
        for username, member in position.members.items()
    }
    return replace(position, standing=of(position), members=members)


class PositionReader:
    """Reads positions; nothing of it is decided here."""

    def __init__(
        self,
        allocations: AllocationStore,
        standings: StandingStore,
        usage: UsageService,
        settings: QuotaSettings,
    ) -> None:
        self._allocations = allocations
        self._standings = standings
        self._usage = usage
        self._settings = settings

    async def read(
        self, groups: Collection[str] | None, now: datetime, *, username: str | None = None
    ) -> dict[Key, Position]:
        """Positions of groups (all that have allocations or run something: ``None``).

        Core-hours are always among them, other resources where they are allocated.

        Parameters
        ----------
        username
            Whose own limit is of interest; all members' where not given.
        """
        grants = await self._allocations.grants(groups)
        facts = await self._standings.facts(groups)
        running = await self._usage.rates(groups)
        if groups is None:
            groups = {rate.group for rate in running} | {group for group, _ in grants}
        keys = [
            (group, resource)
            for group in sorted(groups)
            for resource in TIME_RESOURCES
            if resource is Resource.CORE_HOURS
            or any(grant.since <= now < grant.until for grant in grants.get((group, resource), ()))
        ]
        limits: dict[Key, list[MemberLimit]] = defaultdict(list)
        for limit in facts.limits:
            if username in (None, limit.username):
                limits[limit.group, limit.resource].append(limit)
        rates: dict[str, dict[str, Rate]] = defaultdict(dict)
        for rate in running:
            rates[rate.group][rate.username] = rate
        asked = {key: _Asked(key, grants.get(key, []), limits[key], now) for key in keys}
        spans = list(dict.fromkeys(span for one in asked.values() for span in one.spans))
        usages = await self._usage.of_spans(spans, now)
        used = dict(zip(spans, usages, strict=True))
        return {
            key: self._position(one, used, rates[key[0]], facts.standings)
            for key, one in asked.items()
        }

    def _position(
        self,
        asked: _Asked,
        used: Mapping[Span, Usage],
        rates: Mapping[str, Rate],
        standings: Mapping[tuple[str, Resource, str], Standing],
    ) -> Position:
        group, resource = asked.key

        def amount(span: Span) -> int:
            return resource.used(used.get(span, Usage()))

        in_force = pool(asked.grants, [(span.since, amount(span)) for span in asked.cut], asked.now)
        if in_force is None:
            policy = self._without_allocation(resource)
            measured = Measured(None, amount(asked.whole), 0)
        else:
            policy = strictest([grant.policy for grant in in_force.grants])
            allocated = in_force.allocated
            measured = Measured(in_force.since, allocated - in_force.left, allocated)
        return Position(
            group=group,
            resource=resource,
            pool=in_force,
            policy=policy,
            since=asked.whole.since,
            measured=measured,
            rate=sum(resource.rate(rate) for rate in rates.values()),
            milli_cores=sum(rate.milli_cores for rate in rates.values()),
            recent=amount(asked.recent),
            recent_since=asked.recent.since,
            standing=standings.get((group, resource, ""), Standing()),
            members={
                limit.username: MemberPosition(
                    username=limit.username,
                    limit=limit.amount or 0,
                    measured=Measured(asked.whole.since, amount(span), limit.amount or 0),
                    policy=for_members(policy),
                    rate=resource.rate(rates[limit.username]) if limit.username in rates else 0,
                    standing=standings.get((group, resource, limit.username), Standing()),
                )
                for limit, span in asked.members
            },
        )

    def _without_allocation(self, resource: Resource) -> QuotaPolicy:
        """What holds where nothing is allocated; core-hours only: others limit where allocated."""
        core_hours = resource is Resource.CORE_HOURS
        end = self._settings.without_allocation if core_hours else Policy.ALLOW
        return QuotaPolicy(when_spent=end, warn_at_percent=())


class _Asked:
    """The spans of which the usage is needed for one resource of a group."""

    def __init__(
        self, key: Key, grants: Sequence[Grant], limits: Sequence[MemberLimit], now: datetime
    ) -> None:
        group, _ = self.key = key
        self.now = now
        self.grants = grants
        self.cut = [Span(group, since, until) for since, until in stretches(grants, now)]
        in_force = [grant.since for grant in grants if grant.since <= now < grant.until]
        new_year = day_start(now).replace(month=1, day=1)
        self.whole = Span(group, min(in_force, default=new_year), now)
        recently = day_start(now - timedelta(days=RATE_DAYS))
        self.recent = Span(group, max(self.whole.since, recently), now)
        self.members = [
            (limit, Span(group, self.whole.since, now, limit.username)) for limit in limits
        ]

    @property
    def spans(self) -> Sequence[Span]:
        """All of them; the whole period only where no allocation divides it."""
        parts = self.cut or [self.whole]
        return [*parts, self.recent, *(span for _, span in self.members)]
