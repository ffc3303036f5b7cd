"""Whatever happened, sums by anything agree, to the second, with an oracle that adds up by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import get_args
from uuid import UUID, uuid5

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, life
from tests.conftest import OwnLoop
from tests.quota.conftest import Services

from dachub.accounting.tables import SegmentRow
from dachub.directory.tables import AffiliationRow, GroupRow, PersonRow
from dachub.infra.clock import HeldClock
from dachub.model.sessions import SessionDescription
from dachub.model.usage import Policy, Resource, UsageDimension

BEGINNING = datetime(2027, 12, 1, tzinfo=UTC)
NOW = datetime(2028, 3, 2, 0, 0, 30, tzinfo=UTC)
"""A little after midnight, behind a leap day and a new year."""
SPAN_SECONDS = int((NOW - BEGINNING).total_seconds())
SECOND = timedelta(seconds=1)
INSTITUTIONS = {"ada": "ed.ac.uk", "grace": "roe.ac.uk", "stranger": "unknown"}
EVERY: tuple[UsageDimension, ...] = get_args(UsageDimension)

# Moments where things go wrong: midnights, the turns of months and years, the leap day, the hours
# at which clocks are put forward and back elsewhere, and each with a second more or less.
TURNS = [
    int((datetime(*turn, tzinfo=UTC) - BEGINNING).total_seconds())
    for turn in [(2027, 12, 1), (2027, 12, 31), (2028, 1, 1), (2028, 2, 1), (2028, 2, 28),
                 (2028, 2, 29), (2028, 3, 1), (2028, 3, 2), (2028, 2, 29, 1), (2028, 2, 29, 2)]
]  # fmt: skip
moments = (
    st.integers(0, SPAN_SECONDS)
    | st.sampled_from(TURNS)
    | st.builds(lambda turn, off: turn + off, st.sampled_from(TURNS[1:]), st.sampled_from([-1, 1]))
).map(lambda seconds: BEGINNING + min(max(seconds, 0), SPAN_SECONDS) * SECOND)


@dataclass(frozen=True)
class Piece:
    """A stretch with constant resources; ``until`` is ``None`` while it runs."""

    since: datetime
    until: datetime | None
    milli_cores: int


@dataclass(frozen=True)
class Case:
    """A session, its pieces as they happened, and how it was corrected: in this order."""

    session: SessionDescription
    pieces: tuple[Piece, ...]
    corrections: tuple[tuple[str, datetime, datetime], ...] = ()

    @property
    def charged(self) -> tuple[Piece, ...]:
        """What is to be charged after all corrections."""
        if not self.corrections or len(self.pieces) > 1:
            return self.pieces
        action, since, until = self.corrections[-1]
        (piece,) = self.pieces
        match action:
            case "void":
                return ()
            case "start":
                return (replace(piece, since=since),)
            case "both":
                return (replace(piece, since=since, until=until),)
        return self.pieces


@st.composite
def cases(draw: st.DrawFn, number: int) -> Case:
    cuts = sorted(draw(st.lists(moments, min_size=2, max_size=5, unique=True)))
    running = draw(st.booleans())
    stretches = list(pairwise(cuts))
    cores = st.sampled_from([1, 250, 4000])
    pieces = [Piece(since, until, draw(cores)) for since, until in stretches]
    if draw(st.booleans()):
        pieces = pieces[:1]
    if running:
        pieces[-1] = replace(pieces[-1], until=None)
    first, last = pieces[0], pieces[-1]
    corrections = []
    for _ in range(draw(st.integers(0, 3)) if len(pieces) == 1 else 0):
        end = last.until or NOW
        inside = st.integers(0, int((end - first.since).total_seconds()))
        since, until = sorted(first.since + draw(inside) * SECOND for _ in range(2))
        actions = ["void", "start", "restore"] if running else ["void", "start", "both", "restore"]
        corrections.append((draw(st.sampled_from(actions)), since, until))
    session = SessionDescription(
        session_id=uuid5(UUID(int=0), f"case {number}"),
        username=draw(st.sampled_from(sorted(INSTITUTIONS))),
        group=draw(st.sampled_from(["lensing", "cosmology"])),
        kind=draw(st.sampled_from(["notebook", "dask"])),
        size=draw(st.sampled_from(["small", "large"])),
        environment=draw(st.sampled_from(["astronomy", "beta"])),
        milli_cores=first.milli_cores,
        memory_bytes=draw(st.sampled_from([1, 2**40])),
        gpus=draw(st.integers(0, 2)),
        requested_at=first.since,
    )
    return Case(session, tuple(pieces), tuple(corrections))


histories = st.integers(1, 4).flatmap(lambda count: st.tuples(*(cases(n) for n in range(count))))


def split(case: Case, since: datetime, until: datetime) -> Iterator[tuple[date, Piece, int]]:
    """Seconds of a session's pieces in [since, until), by day: the slow and obvious way."""
    for piece in case.charged:
        day = piece.since.replace(hour=0, minute=0, second=0)
        end = min(piece.until or NOW, until)
        while day < end:
            begin, stop = max(day, piece.since, since), min(day + timedelta(days=1), end)
            if begin < stop:
                yield day.date(), piece, int((stop - begin).total_seconds())
            day += timedelta(days=1)


def expected(
    history: tuple[Case, ...], since: datetime, until: datetime
) -> Counter[tuple[object, ...]]:
    """Milli-core-seconds by every dimension at once, in the order of ``EVERY``."""
    sums: Counter[tuple[object, ...]] = Counter()
    for case in history:
        one = case.session
        for day, piece, seconds in split(case, since, until):
            names = {
                "day": day,
                "month": day.replace(day=1),
                "user": one.username,
                "group": one.group,
                "kind": one.kind.value,
                "size": one.size,
                "environment": one.environment,
                "institution": INSTITUTIONS[one.username],
            }
            sums[tuple(names[name] for name in EVERY)] += seconds * piece.milli_cores
    return sums


async def happen(services: Services, session: AsyncSession, case: Case, *, midnight: bool) -> None:
    """Tell the ledger of a session, and correct it."""
    first, *others = case.pieces
    until = None if others else first.until
    end = case.pieces[-1].until
    await services.ledger().apply(life(case.session, first.since, until or end))
    if others:  # no event tells of a size that changes yet
        await session.execute(
            SegmentRow.__table__.delete().where(SegmentRow.session_id == case.session.session_id)
        )
        await session.execute(
            insert(SegmentRow),
            [
                {
                    "session_id": case.session.session_id,
                    "started_at": piece.since,
                    "ended_at": piece.until,
                    "counted_to": piece.until or piece.since,
                    "milli_cores": piece.milli_cores,
                    "memory_bytes": case.session.memory_bytes,
                    "gpus": case.session.gpus,
                }
                for piece in case.pieces
            ],
        )
        await services.ledger().rebuild_usage_days()
    elif midnight:
        await services.ledger().count_open_days()
    session_id, reason = case.session.session_id, "As it was."
    corrections = services.corrections()
    last = ("restore",)
    for action, since, end_at in case.corrections:
        said = {
            "void": ("void",),
            "start": ("start", since),
            "both": ("both", since, end_at),
            "restore": ("restore",),
        }[action]
        if said == last:
            continue
        last = said
        match action:
            case "void":
                await corrections.void(ADMINISTRATOR, session_id, reason)
            case "restore":
                await corrections.restore(ADMINISTRATOR, session_id, reason)
            case "start":
                await corrections.amend(ADMINISTRATOR, session_id, reason, started_at=since)
            case "both":
                await corrections.amend(
                    ADMINISTRATOR, session_id, reason, started_at=since, ended_at=end_at
                )


async def check(
    services: Services, history: tuple[Case, ...], since: datetime, until: datetime
) -> None:
    """Every report of [since, until) against the oracle."""
    sums = expected(history, since, until)
    report = services.usage().report
    full = await report(ADMINISTRATOR, since=since, until=until, dimensions=EVERY)
    names = ("day", "month", "username", "group", "kind", "size", "environment", "institution")
    assert {
        tuple(getattr(row, name) for name in names): row.milli_core_seconds
        for row in full.rows
        if row.milli_core_seconds
    } == +sums
    assert full.total.memory_byte_seconds == sum(
        seconds * case.session.memory_bytes
        for case in history
        for _, _, seconds in split(case, since, until)
    )
    for number, dimension in enumerate(EVERY):
        by: Counter[object] = Counter()
        for key, amount in sums.items():
            by[key[number]] += amount
        told = await report(ADMINISTRATOR, since=since, until=until, dimensions=[dimension])
        assert {
            getattr(row, names[number]): row.milli_core_seconds
            for row in told.rows
            if row.milli_core_seconds
        } == +by
        assert told.total == full.total
    assert (await report(ADMINISTRATOR, since=since, until=until)).total == full.total


async def check_sessions_and_allocations(
    services: Services, history: tuple[Case, ...], since: datetime, until: datetime
) -> None:
    """What sessions, allocations and the balance of a group say is the same usage."""
    records = await services.sessions().list(ADMINISTRATOR, limit=1000)
    charged = {record.session_id: round(record.core_seconds * 1000) for record in records}
    for case in history:
        assert charged[case.session.session_id] == sum(
            seconds * piece.milli_cores for _, piece, seconds in split(case, BEGINNING, NOW)
        )
    midnight = until.replace(hour=0, minute=0, second=0)
    first, last = since, max(midnight, since + SECOND)
    group_at = EVERY.index("group")
    for group in ("lensing", "cosmology"):
        allocation = await services.allocations().create(
            ADMINISTRATOR,
            group=group,
            resource=Resource.CORE_HOURS,
            amount=10**6,
            starts_at=first,
            ends_at=last,
            policy=Policy.WARN,
            reason="For the test.",
        )
        adjusted = await services.allocations().adjust(
            ADMINISTRATOR, allocation.allocation_id, "-12.5", "Less."
        )
        used = sum(
            amount
            for key, amount in expected(history, first, last).items()
            if key[group_at] == group
        )
        assert (adjusted.used, adjusted.amount) == (used, (10**6 - 12.5) * 3_600_000)


async def people(session: AsyncSession) -> None:
    """Groups, and people with affiliations: all but one."""
    for slug in ("lensing", "cosmology"):
        await session.execute(insert(GroupRow).values(slug=slug, created_at=BEGINNING))
    for username, domain in INSTITUTIONS.items():
        if domain == "unknown":
            continue
        await session.execute(
            insert(PersonRow).values(
                username=username, issuer="idp", subject=username, created_at=BEGINNING
            )
        )
        await session.execute(
            insert(AffiliationRow).values(
                username=username,
                value=f"staff@{domain}",
                asserted_by="idp",
                first_asserted_at=BEGINNING,
                last_asserted_at=BEGINNING,
            )
        )


async def live_and_check(
    engine: AsyncEngine, history: tuple[Case, ...], cuts: list[datetime], *, midnight: bool
) -> None:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        await session.begin()
        services = Services(session, HeldClock(NOW))
        await people(session)
        for case in history:
            await happen(services, session, case, midnight=midnight)
        assert await services.ledger().check_usage_days() == []
        total = sum(expected(history, BEGINNING, NOW).values())
        parts = 0
        for since, until in pairwise([BEGINNING, *cuts, NOW + timedelta(days=40)]):
            await check(services, history, since, until)
            report = await services.usage().report(ADMINISTRATOR, since=since, until=until)
            parts += report.total.milli_core_seconds
        assert parts == total
        since, until = (BEGINNING, NOW) if len(cuts) < 2 else (cuts[0], cuts[-1])
        await check_sessions_and_allocations(services, history, since, until)
        await services.ledger().rebuild_usage_days()
        await check(services, history, BEGINNING, NOW + timedelta(days=1))
        await session.rollback()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    history=histories,
    cuts=st.lists(moments, max_size=3, unique=True).map(sorted),
    midnight=st.booleans(),
)
def test_sums_agree_whatever_happened_and_was_corrected(
    history: tuple[Case, ...],
    cuts: list[datetime],
    midnight: bool,
    own_loop: OwnLoop,
) -> None:
    loop, engine = own_loop
    inner = [cut for cut in cuts if cut > BEGINNING]
    loop.run_until_complete(live_and_check(engine, history, inner, midnight=midnight))
