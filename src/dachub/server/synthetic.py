"""Made-up people with groups, allocations and weeks of work, for an instance to develop on.

Everything goes through the same rules as what real people do; the same seed makes the same of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from dachub.config import Settings, SyntheticSettings
from dachub.directory.models import Principal
from dachub.model.people import Role
from dachub.model.sessions import (
    EndReason,
    EventKind,
    SessionDescription,
    SessionEvent,
    session_id_of,
)
from dachub.model.units import day_start
from dachub.model.usage import Policy, Resource
from dachub.server.factory import Factory

WORKING_HOURS = (8, 18)
WORKS_ON_A_DAY = 0.6
LASTS_HOURS = (0.25, 6.0)
ALLOCATION_DAYS = 365
SPENT = (0.3, 0.6, 0.9, 1.1)
"""What a group has used of its allocation, group after group, so that all states are seen."""
EVENTS_AT_ONCE = 1000


def person_name(number: int) -> str:
    """Username of a made-up person."""
    return f"synthetic-{number:03d}"


def group_name(number: int) -> str:
    """Slug of a made-up group."""
    return f"synthetic-{number:02d}"


async def seed(factory: Factory, by: Principal, wanted: SyntheticSettings, password: str) -> None:
    """Make them all, in the transaction of ``factory``.

    Parameters
    ----------
    password
        With which each of them logs in.

    Raises
    ------
    WeakPassword
    """
    now = factory.clock.now()
    for number in range(wanted.people):
        await factory.accounts().add(
            by, person_name(number), full_name=f"Synthetic Person {number}", password=password
        )
    groups = factory.groups()
    for number in range(wanted.groups):
        await groups.create(
            by, group_name(number), title=f"Synthetic group {number}", description="Made up"
        )
    for number in range(wanted.people):
        role = Role.PI if number < wanted.groups else Role.MEMBER
        await groups.put_member(by, _group_of(number, wanted), person_name(number), role)
    sessions = list(work(factory.settings, wanted, now))
    for first in range(0, len(sessions), EVENTS_AT_ONCE):
        await factory.ledger().apply(sessions[first : first + EVENTS_AT_ONCE])
    for number in range(wanted.groups):
        await _allocate(factory, by, number, wanted, sessions, now)


async def _allocate(
    factory: Factory,
    by: Principal,
    number: int,
    wanted: SyntheticSettings,
    sessions: list[SessionEvent],
    now: datetime,
) -> None:
    group = group_name(number)
    used = sum(_core_hours(one) for one in sessions if one.session.group == group)
    starts_at = day_start(now) - timedelta(weeks=wanted.weeks)
    await factory.allocations().create(
        by,
        group=group,
        resource=Resource.CORE_HOURS,
        amount=max(1, round(used / SPENT[number % len(SPENT)])),
        starts_at=starts_at,
        ends_at=starts_at + timedelta(days=ALLOCATION_DAYS),
        policy=Policy.WARN,
        reason="synthetic",
        tell=False,
    )


def work(settings: Settings, wanted: SyntheticSettings, now: datetime) -> Iterator[SessionEvent]:
    """What they did on the working days of the past weeks: sessions, each told by its end."""
    chance = Random(wanted.seed)  # noqa: S311  nothing secret
    today = day_start(now)
    for days in range(7 * wanted.weeks, 0, -1):
        day = today - timedelta(days=days)
        if day.weekday() >= 5:
            continue
        for number in range(wanted.people):
            if chance.random() < WORKS_ON_A_DAY:
                yield _session(settings, wanted, chance, day, number)


def _session(
    settings: Settings, wanted: SyntheticSettings, chance: Random, day: datetime, number: int
) -> SessionEvent:
    size = chance.choice(settings.servers.sizes)
    environment = chance.choice(settings.servers.environments)
    offered = [f"{environment.name}:{one.name}" for one in environment.offered(day.date())]
    opens, closes = WORKING_HOURS
    requested_at = day + timedelta(seconds=chance.randrange(3600 * opens, 3600 * closes))
    started_at = requested_at + timedelta(seconds=chance.randrange(5, 60))
    ended_at = started_at + timedelta(seconds=round(3600 * chance.uniform(*LASTS_HOURS)))
    milliseconds = round(requested_at.timestamp() * 1000)
    return SessionEvent(
        event_id=UUID(int=chance.getrandbits(128)),
        kind=EventKind.STOPPED,
        session=SessionDescription(
            session_id=session_id_of(milliseconds, chance.getrandbits(74)),
            username=person_name(number),
            group=_group_of(number, wanted),
            size=size.name,
            environment=chance.choice(offered or [environment.name]),
            milli_cores=size.milli_cores,
            memory_bytes=size.memory_bytes,
            gpus=size.gpus,
            requested_at=requested_at,
        ),
        at=min(ended_at, day + timedelta(days=1)),
        started_at=started_at,
        end_reason=EndReason.STOPPED,
    )


def _group_of(number: int, wanted: SyntheticSettings) -> str:
    return group_name(number % wanted.groups)


def _core_hours(event: SessionEvent) -> float:
    assert event.started_at is not None  # noqa: S101  made so above
    return event.session.milli_cores / 1000 * ((event.at - event.started_at) / timedelta(hours=1))
