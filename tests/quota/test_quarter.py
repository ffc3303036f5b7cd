"""A quarter of 300 people in 40 groups, in simulated time: what everybody is told, and when.

The whole of it is kept in ``golden/quarter.txt``; write it anew with ``pytest --update-golden`` and
read the difference.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, event
from tests.quota.conftest import Services

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import GroupRow, MembershipRow, PersonRow
from dachub.infra.clock import HeldClock
from dachub.model.allocations import Recurrence
from dachub.model.people import Role
from dachub.model.sessions import EndReason, EventKind, SessionDescription
from dachub.model.site import ServerChoice
from dachub.model.usage import AuthorizeRequest, Policy, QuotaPolicy, Resource
from dachub.notices.tables import NoticeRow
from dachub.quota.models import Vigil
from dachub.quota.settings import QuotaSettings
from dachub.quota.tables import StandingRow

GOLDEN = Path(__file__).with_name("golden") / "quarter.txt"
START = datetime(2026, 12, 31, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
APRIL = datetime(2027, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK_DAYS = 7
GROUPS = 40
PEOPLE = 300
SETTINGS = QuotaSettings(enforce_seconds=24 * 3600, reconcile_seconds=3600)
POLICIES = (
    QuotaPolicy(when_spent=Policy.ALLOW),
    QuotaPolicy(when_spent=Policy.WARN),
    QuotaPolicy(when_spent=Policy.DENY),
    QuotaPolicy(when_spent=Policy.DENY, grace_percent=10),
    QuotaPolicy(when_spent=Policy.DENY, grace_seconds=2 * 86400),
    QuotaPolicy(when_spent=Policy.STOP, stop_notice_seconds=3600),
    QuotaPolicy(when_spent=Policy.STOP, grace_percent=5, grace_seconds=86400),
    None,  # nothing is allocated
)


def slug(number: int) -> str:
    return f"g{number:02}"


def person(number: int) -> str:
    return f"p{number:03}"


def members(group: int) -> list[str]:
    """The PI first."""
    return [person(number) for number in range(PEOPLE) if number % GROUPS == group]


@dataclass
class Quarter:
    """The world, and what was seen in it."""

    session: AsyncSession
    clock: HeldClock
    services: Services
    vigil: Vigil = field(default_factory=Vigil)
    running: dict[UUID, SessionDescription] = field(default_factory=dict)
    noticed_at: dict[UUID, datetime] = field(default_factory=dict)
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    moves: set[tuple[str, str]] = field(default_factory=set)
    stopped: list[SessionDescription] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    last_notice: int = 0

    async def begin(self) -> None:
        """People, groups and what these are given: each policy with little, enough and plenty."""
        now = self.clock.now()
        await self.session.execute(
            insert(GroupRow),
            [{"slug": slug(n), "title": f"Group {n}", "created_at": now} for n in range(GROUPS)],
        )
        await self.session.execute(
            insert(PersonRow),
            [
                {"username": person(n), "issuer": "local", "subject": person(n),
                 "full_name": f"Person {n}", "created_at": now}
                for n in range(PEOPLE)
            ],
        )  # fmt: skip
        await self.session.execute(
            insert(MembershipRow),
            [
                {"username": person(n), "group": slug(n % GROUPS), "source": "local",
                 "role": "pi" if n < GROUPS else "member", "valid_from": now - DAY}
                for n in range(PEOPLE)
            ],
        )  # fmt: skip
        for number in range(GROUPS):
            await self.grant(number)

    async def grant(self, number: int) -> None:
        """A fifth of the groups each: little, half, nearly enough, plenty, month by month."""
        policy = POLICIES[number % len(POLICIES)]
        if policy is None:
            return
        hours = (300, 900, 1500, 20_000)
        kind = number // len(POLICIES)
        if kind < len(hours):
            await self.services.allocations().create(
                ADMINISTRATOR, group=slug(number), resource=Resource.CORE_HOURS,
                amount=hours[kind], starts_at=NEW_YEAR, ends_at=APRIL, policy=policy,
                reason="call 2027A", tell=False,
            )  # fmt: skip
        else:
            await self.services.series().add(
                ADMINISTRATOR, group=slug(number), resource=Resource.CORE_HOURS, amount=350,
                every=Recurrence.MONTH, first=NEW_YEAR, carry_over_percent=20, policy=policy,
                reason="call 2027A",
            )  # fmt: skip

    async def change(self) -> None:
        """What administrators and PIs do on certain days."""
        today = (self.clock.now() - NEW_YEAR) // DAY
        if today == 5:
            for number in range(0, GROUPS, 3):
                pi = Principal(person(number), PrincipalKind.PERSON, roles={slug(number): Role.PI})
                await self.services.limits().set(
                    pi, slug(number), members(number)[1], Resource.CORE_HOURS, 60, "fair share"
                )
        if today == 40:  # extensions: reopened, some of them spent again
            for record in await self.services.allocations().list(ADMINISTRATOR):
                if record.amount == 300 * 3_600_000:
                    await self.services.allocations().adjust(
                        ADMINISTRATOR, record.allocation_id, 700, "extension", tell=False
                    )
        if today == 60:  # top-ups beside what there is
            for number in range(9, 16):
                if POLICIES[number % len(POLICIES)] is not None:
                    await self.services.allocations().create(
                        ADMINISTRATOR, group=slug(number), resource=Resource.CORE_HOURS, amount=100,
                        starts_at=self.clock.now(), ends_at=self.clock.now() + 14 * DAY,
                        reason="top-up", tell=False,
                    )  # fmt: skip

    async def work(self, day: int) -> None:
        """People start servers on Monday morning where they may, and stop them on Saturday."""
        now = self.clock.now()
        if day % WEEK_DAYS == 1:
            told = []
            for number in range(GROUPS):
                sample = members(number)[-1]
                limited = members(number)[1]
                asked = (sample, limited) if number % 3 == 0 else (sample,)
                may = {name: await self.may_start(number, name) for name in asked}
                for username in members(number):
                    if not may.get(username, may[sample]):
                        self.refused.add(slug(number))
                        continue
                    started = SessionDescription(
                        session_id=uuid5(UUID(int=0), f"{username}{now}"), username=username,
                        group=slug(number), size="small", environment="astronomy",
                        milli_cores=150, memory_bytes=2**30, requested_at=now,
                    )  # fmt: skip
                    self.running[started.session_id] = started
                    told.append(event(EventKind.STARTED, started, now, started_at=now))
            await self.services.ledger().apply(told)
        elif day % WEEK_DAYS == 6:
            await self.end(list(self.running))

    async def may_start(self, group: int, username: str) -> bool:
        """Ask the service; where nobody is held, in every fourth week only: it takes its time."""
        week = (self.clock.now() - START) // DAY // WEEK_DAYS
        states = {self.states.get((slug(group), who), "ok") for who in ("", username)}
        if states <= {"ok", "warned"} and (week + group) % 4:
            return True
        request = AuthorizeRequest(username=username, choice=ServerChoice(size="small"))
        return (await self.services.quota().authorize(request)).allowed

    async def end(self, session_ids: list[UUID]) -> None:
        now = self.clock.now()
        ended = [self.running.pop(session_id) for session_id in session_ids]
        await self.services.ledger().apply(
            [event(EventKind.STOPPED, one, now, started_at=one.requested_at) for one in ended]
        )

    async def enforce(self) -> None:
        """One run of the workers: series, enforcement, stops."""
        now = self.clock.now()
        await self.services.workers().record("reconcile")
        await self.services.series().materialise()
        self.vigil, outcome = await self.services.enforcement().run(self.vigil)
        if outcome.startswith("held"):
            return
        due = await self.services.sessions().due_for_stop(now)
        if due:
            self.vigil, confirmed, _ = await self.services.enforcement().confirmed(self.vigil, due)
            for one in confirmed:
                assert now - self.noticed_at[one.session_id] >= HOUR
                self.stopped.append(self.running[one.session_id])
            await self.end([one.session_id for one in confirmed])
        for one in await self.services.sessions().running():
            if one.stop_due_reason == EndReason.QUOTA:
                self.noticed_at.setdefault(one.session_id, now)

    async def see(self) -> None:
        """Write down what people were told, and what those see whose standing changed."""
        self.lines += [*await self.notices(), *await self.pages()]

    async def notices(self) -> list[str]:
        rows = await self.session.execute(
            select(NoticeRow.__table__).where(NoticeRow.notice_id > self.last_notice)
        )
        told: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for row in rows.mappings():
            self.last_notice = max(self.last_notice, row["notice_id"])
            key = (row["group"], row["kind"], row["severity"], row["title"], row["text"])
            told[key].append(row["username"])
        return [
            f"{self.clock.now():%m-%d} {group} {kind}/{severity} to {' '.join(sorted(names))}\n"
            f"  {title}\n  {said}"
            for (group, kind, severity, title, said), names in sorted(told.items())
        ]

    async def pages(self) -> list[str]:
        rows = await self.session.execute(
            select(StandingRow.group, StandingRow.username, StandingRow.state).order_by(
                StandingRow.group, StandingRow.username
            )
        )
        lines = []
        for group, username, state in rows:
            before = self.states.get((group, username), "ok")
            if state == before:
                continue
            self.states[group, username] = state
            self.moves.add((before, state))
            reader = username or members(int(group[1:]))[-1]
            options = await self.services.quota().start_options(reader)
            (page,) = options.groups
            lasts = next((one.text for one in page.forecasts if one.size == "small"), "")
            lines.append(
                f"{self.clock.now():%m-%d} {group} {username or '-'}: {before} -> {state}; "
                f"{reader}'s start page:\n  {page.message or '(nothing)'}\n  small: {lasts or '-'}"
            )
        return lines


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(START)


@pytest.fixture
def quarter(db: AsyncSession, clock: HeldClock) -> Quarter:
    return Quarter(db, clock, Services(db, clock, SETTINGS))


async def test_a_quarter_of_three_hundred_people(
    quarter: Quarter, request: pytest.FixtureRequest
) -> None:
    await quarter.begin()
    day = 0
    while quarter.clock.now() < APRIL + 2 * DAY:
        quarter.clock.advance(DAY)
        day += 1
        await quarter.change()
        await quarter.work(day)
        await quarter.enforce()
        await quarter.see()
    _check_that_all_happened_and_nothing_else(quarter)
    await _check_the_sums(quarter)
    seen = "\n".join(quarter.lines) + "\n"
    if request.config.getoption("--update-golden"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(seen)
    assert seen == GOLDEN.read_text(), "look at it, then: pytest --update-golden"


def _check_that_all_happened_and_nothing_else(quarter: Quarter) -> None:
    ways = {"ok": "warned", "warned": "grace", "grace": "stopping", "closed": "ok"}
    assert set(ways.items()) <= quarter.moves
    assert {("warned", "closed"), ("grace", "closed"), ("stopping", "ok")} <= quarter.moves
    ends = {policy.when_spent if policy else None for policy in POLICIES}
    assert ends == {*Policy, None}
    stopped_groups = {one.group for one in quarter.stopped}
    for group in range(GROUPS):
        policy = POLICIES[group % len(POLICIES)]
        end = None if policy is None else policy.when_spent
        if end is not Policy.STOP:
            assert slug(group) not in stopped_groups
        has_limit = group % 3 == 0  # a person's own limit closes under any policy
        if end in (None, Policy.ALLOW) and not has_limit:
            assert all(f" {slug(group)} quota" not in line for line in quarter.lines)
        if end in (None, Policy.ALLOW, Policy.WARN) and not has_limit:
            assert slug(group) not in quarter.refused
    assert stopped_groups
    assert quarter.refused


async def _check_the_sums(quarter: Quarter) -> None:
    report = await quarter.services.usage().report(
        ADMINISTRATOR, since=NEW_YEAR, until=APRIL, dimensions=["group"]
    )
    counted = {row.group: row.milli_core_seconds for row in report.rows}
    for record in await quarter.services.allocations().list(ADMINISTRATOR):
        if (record.starts_at, record.ends_at) == (NEW_YEAR, APRIL):
            assert record.used == counted[record.group]
    twice = await quarter.session.execute(
        text("select username, key from notice group by 1, 2 having count(*) > 1")
    )
    assert twice.all() == []
