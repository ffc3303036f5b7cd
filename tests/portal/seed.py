"""A site that looks real: groups, people with hostile names, hundreds of sessions."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.allocations import Recurrence
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import ClaimedMembership, LoginRecord, Role
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent
from dachub.model.storage import Folder, StorageArea, StorageMethod
from dachub.model.usage import Policy, QuotaPolicy, Resource
from dachub.server.factory import Factory, Process
from dachub.storage.models import Measurement

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)
ISSUER = "https://login.example.org/realms/astronomy"
OPERATOR = Principal("operator:root", PrincipalKind.OPERATOR)
HOSTILE = "<script>alert('name')</script>\"'>&"
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 4
AFFILIATION = (
    "Research School of Astronomy and Astrophysics, Mount Example Observatory, "
    "Faculty of Mathematical and Physical Sciences, University of Somewhere (staff@example.edu)"
)
PASSWORD = "correct horse battery"
NAMES = (
    "Ada Amsel", "Bruno Birke", "Chandra Côté", "Dmitri Drozd", "Eun-ji Eom", "Fatima Farouk",
    "Giulia Greco", "Hana Horáková", "Iñigo Ibarra", "Jadwiga Jaworska", "Kofi Kwarteng",
    "Leila Lahiri", "Mei Mori", "Nour Nasser", "Oluwaseun Obi", "Przemysław Pająk", "Quentin Quy",
    "Rania Rahman", "Søren Sø", "田中 良子",
)  # fmt: skip
GROUPS = {
    "lenses": "Strong lenses in the southern sky",
    "transients": "Transients: what appears and vanishes",
    "photoz": "Photometric redshifts",
}
SIZES = {"small": (1000, 2 * 2**30), "tiny": (250, 2**29), "large": (4000, 8 * 2**30)}


@dataclass
class Site:
    """What was seeded."""

    people: list[str] = field(default_factory=list)
    running: dict[str, UUID] = field(default_factory=dict)
    corrected: UUID | None = None


async def seed(process: Process) -> Site:
    """Fill an empty database."""
    chance = random.Random(1)
    site = Site()
    async with process.factory() as factory:
        await _groups(factory)
        await _people(factory, site)
    async with process.factory() as factory:
        await _sessions(factory, site, chance)
        await _allocations(factory)
    async with process.factory() as factory:
        await _grants(factory)
        site.corrected = await _corrections(factory)
        await _storage(factory, chance)
        await _requests(factory)
        await _notices(factory)
    return site


async def _groups(factory: Factory) -> None:
    for slug, title in GROUPS.items():
        await factory.groups().create(
            OPERATOR, slug, title, f"{title}. A campaign of the survey, with a shared allocation."
        )
    await factory.groups().create(OPERATOR, "hostile", f"{HOSTILE} {LONG}", f"{HOSTILE}\n{LONG}")
    await factory.groups().create(OPERATOR, "clusters", "Clusters of galaxies")
    await factory.groups().create(OPERATOR, "empty", "Nobody and nothing yet")


async def _people(factory: Factory, site: Site) -> None:
    accounts = factory.accounts()
    await accounts.add(
        OPERATOR, "admin", full_name="Administrator", administrator=True, password=PASSWORD
    )
    for name in ("pia", "max", "meg", "otto", "loner", "paul"):
        await accounts.add(OPERATOR, name, full_name=name.title() + " Example", password=PASSWORD)
    for number, name in enumerate([*NAMES, HOSTILE, LONG]):
        first = name.split()[0].lower()
        username = first if first.isascii() and first.isalpha() else f"person-{number}"
        person = await factory.logins().record(
            LoginRecord(
                issuer=ISSUER,
                subject=f"subject-{number}",
                candidate=username[:32],
                full_name=name,
                email=f"{username[:20]}@example.org",
                affiliations=[HOSTILE if name == HOSTILE else AFFILIATION]
                + (["member@observatory.example"] if number % 3 == 0 else []),
                memberships=[ClaimedMembership(provider_name="survey:core")] if number % 2 else [],
                at=NOW - timedelta(days=200 if number % 5 == 4 else number, hours=number),
            )
        )
        site.people.append(person.username)
        group = list(GROUPS)[number % 3]
        await factory.groups().put_member(OPERATOR, group, person.username, Role.MEMBER)
    groups = factory.groups()
    await groups.set_pi(OPERATOR, "lenses", "pia")
    await groups.set_pi(OPERATOR, "transients", "paul")
    await groups.set_pi(OPERATOR, "photoz", "paul")
    await groups.set_pi(OPERATOR, "clusters", "paul")
    await groups.put_member(OPERATOR, "clusters", "meg", Role.MEMBER)
    await groups.put_member(OPERATOR, "lenses", "max", Role.MANAGER)
    await groups.put_member(OPERATOR, "lenses", "meg", Role.MEMBER)
    await groups.put_member(OPERATOR, "hostile", "meg", Role.MEMBER)
    await groups.put_member(OPERATOR, "photoz", "meg", Role.MEMBER)
    await groups.put_member(OPERATOR, "transients", "otto", Role.MEMBER)
    await groups.put_member(OPERATOR, "hostile", site.people[-2], Role.MANAGER)
    await groups.put_member(OPERATOR, "hostile", site.people[-1], Role.MEMBER)
    await factory.people().disable(OPERATOR, site.people[3], "Left the institute")
    await groups.put_member(OPERATOR, "lenses", site.people[1], Role.MEMBER)
    await groups.remove_member(OPERATOR, "lenses", site.people[1])


async def _allocations(factory: Factory) -> None:
    year = {
        "starts_at": datetime(2027, 1, 1, tzinfo=UTC),
        "ends_at": datetime(2028, 1, 1, tzinfo=UTC),
    }
    for slug, core_hours, policy in (
        ("lenses", 2000, Policy.DENY),
        ("transients", 400, Policy.WARN),
        ("hostile", 1, Policy.DENY),
    ):
        allocation = await factory.allocations().create(
            OPERATOR,
            group=slug,
            resource=Resource.CORE_HOURS,
            amount=core_hours,
            policy=policy,
            reason="Decision of the time allocation committee",
            **year,
        )
        await factory.allocations().adjust(
            OPERATOR,
            allocation.allocation_id,
            amount="0.5",
            reason=f"A little more {HOSTILE}",
        )


async def _grants(factory: Factory) -> None:
    """Series, other resources, changes of every kind, limits of members."""
    allocations, paul = factory.allocations(), await factory.people().principal("paul")
    pia = await factory.people().principal("pia")
    await factory.series().add(
        OPERATOR, group="clusters", resource=Resource.CORE_HOURS, amount=400,
        every=Recurrence.QUARTER, carry_over_percent=25,
        policy=QuotaPolicy(when_spent=Policy.STOP, grace_percent=5, grace_seconds=2 * 86_400),
        reason="Award of the funding body",
    )  # fmt: skip
    await allocations.create(
        OPERATOR, group="lenses", resource=Resource.FILE_BYTES, amount=2 * 10**12,
        starts_at=datetime(2027, 1, 1, tzinfo=UTC), ends_at=datetime(2027, 7, 1, tzinfo=UTC),
        reason="Images of the first season",
    )  # fmt: skip
    (lenses,) = [
        record
        for record in await allocations.list(OPERATOR, group="lenses")
        if record.resource is Resource.CORE_HOURS
    ]
    await allocations.change(
        OPERATOR, lenses.allocation_id, "The season ends in June, says the PI",
        ends_at=datetime(2027, 7, 1, tzinfo=UTC),
        policy=QuotaPolicy(warn_at_percent=(50, 75, 90), grace_percent=2.5),
    )  # fmt: skip
    limits = factory.limits()
    for by, group, username, amount in (
        (pia, "lenses", "meg", 1200), (pia, "lenses", "max", 100), (pia, "lenses", "ada", 60),
        (paul, "clusters", "meg", 20),
    ):  # fmt: skip
        await limits.set(by, group, username, Resource.CORE_HOURS, amount, "So that all have some")
    await limits.set(pia, "lenses", "max", Resource.CORE_HOURS, 150, f"More for max {HOSTILE}")


async def _corrections(factory: Factory) -> UUID:
    ended = await factory.sessions().list(OPERATOR, username="meg", state="ended", limit=30)
    corrections = factory.corrections()
    await corrections.void(OPERATOR, ended[3].session_id, f"A fault of the platform {HOSTILE}")
    amended = ended[5]
    assert amended.started_at is not None
    await corrections.amend(
        OPERATOR, amended.session_id, "It hung for the rest of the time",
        ended_at=amended.started_at + timedelta(seconds=1),
    )  # fmt: skip
    return amended.session_id


async def _storage(factory: Factory, chance: random.Random) -> None:
    storage, limits = factory.storage(), factory.storage_limits()
    await limits.set(
        OPERATOR, StorageArea.HOME, "meg", limit_bytes=50 * 2**30, limit_files=500_000,
        reason="Beginning of the project",
    )  # fmt: skip
    places = (
        (StorageArea.GROUP, "lenses", 1.1e12, 9e9), (StorageArea.GROUP, "hostile", 1e9, 0),
        (StorageArea.HOME, "meg", 30e9, 2.5e8), (StorageArea.HOME, "pia", 8e9, 3e7),
        (StorageArea.HOME, "nobody-knows", 5e9, 0),
    )  # fmt: skip
    names = ("images", "catalogues/2026", HOSTILE[:40], LONG)
    factory.clock.jump(-timedelta(days=60))
    for day in range(60, -1, -1):
        for area, owner, start, growth in places:
            held = int(start + (60 - day) * growth * chance.uniform(0.8, 1.2))
            measured = Measurement(
                method=StorageMethod.WALK, bytes=int(held * 0.98), allocated_bytes=held,
                files=held // 400_000, unreadable=3 if owner == "hostile" else 0,
                largest=[
                    Folder(path=name, allocated_bytes=held // (2 + 3 * n), files=1000 // (1 + n))
                    for n, name in enumerate(names)
                ],
            )  # fmt: skip
            await storage.record(area, owner, measured)
        if day:
            factory.clock.jump(timedelta(days=1))


async def _requests(factory: Factory) -> None:
    requests = factory.requests()
    meg, pia = [await factory.people().principal(name) for name in ("meg", "pia")]
    for by, amount, reason in (
        (pia, 250, "The first season took longer than planned."),
        (meg, 40, "One more night of imaging."),
        (pia, 500, f"Second season {HOSTILE} {LONG}"),
        (meg, 12.5, "Reprocessing with the new calibration."),
    ):
        await requests.ask(
            by, group="lenses", resource=Resource.CORE_HOURS, amount=amount, reason=reason
        )
    await requests.ask(
        meg, group="lenses", resource=Resource.CORE_HOURS, amount=150, own_limit=True,
        reason="The last fields of my thesis.",
    )  # fmt: skip
    first, second = (await requests.list(OPERATOR, own_limit=False))[:1:-1]
    await requests.grant(OPERATOR, first.request_id, amount=200, reason="As far as there is any.")
    await requests.decline(OPERATOR, second.request_id, "Ask again when this is used up.")


async def _notices(factory: Factory) -> None:
    """To ada more than a page shows; to meg of every kind and severity, some of them read."""
    notices = factory.notices()
    for number in range(40):
        await notices.give(
            ["ada"] if number >= 8 else ["ada", "meg"], key=f"seed/{number}",
            kind=list(NoticeKind)[number % 5], severity=list(Severity)[number % 3],
            title=f"Something to be told {HOSTILE if number == 7 else number}",
            text=f"What happened {LONG if number == 6 else ''}.\n\nWhat to do about it.",
            group="lenses", path="groups/lenses",
        )  # fmt: skip
    meg, ada = [await factory.people().principal(name) for name in ("meg", "ada")]
    for person, kept in ((meg, 4), (ada, 0)):
        told = await notices.unread(person.name)
        await notices.mark_all_read(person, told[kept].notice_id)


async def _sessions(factory: Factory, site: Site, chance: random.Random) -> None:
    events: list[SessionEvent] = []
    payers = [(name, group) for name in site.people for group in ["photoz"]]
    payers = [(name, list(GROUPS)[number % 3]) for number, name in enumerate(site.people)]
    payers += [("pia", "lenses"), ("max", "lenses"), ("meg", "lenses"), ("meg", "hostile")]
    payers += [("meg", "lenses")] * 20
    for number in range(400):
        username, group = chance.choice(payers)
        start = NOW - timedelta(days=chance.randint(0, 90), seconds=chance.randint(3600, 86_000))
        length = timedelta(seconds=chance.randint(5, 30_000))
        events += _session(
            number, username, group, chance.choice(list(SIZES)), start,
            min(start + length, NOW - timedelta(minutes=1)),
            estimate=number % 7 == 0,
        )  # fmt: skip
    for number, (username, group) in enumerate(
        [("meg", "lenses"), ("pia", "lenses"), ("otto", "transients"), (site.people[0], "lenses")]
    ):
        begun = _session(
            1000 + number, username, group, "small", NOW - timedelta(seconds=4000 + number), None,
            server_name=HOSTILE[:40] if number == 0 else "",
        )  # fmt: skip
        events += begun
        site.running[username] = begun[0].session.session_id
    for start in range(0, len(events), 500):
        await factory.ledger().apply(events[start : start + 500])


def _session(
    number: int, username: str, group: str, size: str, start: datetime, end: datetime | None,
    *, estimate: bool = False, server_name: str = "",
) -> list[SessionEvent]:  # fmt: skip
    milli_cores, memory_bytes = SIZES[size]
    session = SessionDescription(
        session_id=UUID(int=number + 1),
        username=username,
        group=group,
        server_name=server_name,
        size=size,
        environment="astronomy",
        milli_cores=milli_cores,
        memory_bytes=memory_bytes,
        requested_at=start - timedelta(seconds=4),
    )
    made = [(EventKind.REQUESTED, session.requested_at), (EventKind.STARTED, start)]
    if end is not None:
        made.append((EventKind.STOPPED, end))
    return [
        SessionEvent(
            event_id=UUID(int=(number + 1) * 10 + place),
            kind=kind,
            session=session,
            at=at,
            started_at=None if kind is EventKind.REQUESTED else start,
            end_reason=(EndReason.LOST if estimate else EndReason.STOPPED)
            if kind is EventKind.STOPPED
            else None,
            end_is_estimate=estimate and kind is EventKind.STOPPED,
        )
        for place, (kind, at) in enumerate(made)
    ]
