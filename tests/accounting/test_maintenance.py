"""Who works on a machine that is taken out of service is told before and after, and once."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, accounting, event, life

from dachub.accounting.services import Accounting, MaintenanceService
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import Directory
from dachub.directory.settings import DirectorySettings
from dachub.infra.clock import HeldClock
from dachub.model.notices import Notice, NoticeKind, Severity
from dachub.model.problems import PermissionDenied
from dachub.model.sessions import EventKind, SessionDescription, SessionRecord
from dachub.notices.services import Notices, NoticeService

HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("lensing")


class Site:
    """The services that take part, and short ways to ask them."""

    def __init__(self, db: AsyncSession, clock: HeldClock) -> None:
        self.clock = clock
        directory = Directory(db, clock, DirectorySettings())
        self.ledger: Accounting = accounting(db, clock)
        self.notices: NoticeService = Notices(db, clock, directory, mails=False).notices()
        self.maintenance: MaintenanceService = self.ledger.maintenance(self.notices)
        self.audit = directory.audit()

    async def runs(self, session: SessionDescription) -> SessionDescription:
        """The session, running from now on."""
        await self.ledger.ledger().apply(life(session, self.clock.now()))
        return session

    async def ends(self, session: SessionDescription) -> None:
        """It ends now."""
        start = (await self.found(session)).started_at
        assert start is not None
        await self.ledger.ledger().apply(life(session, start, self.clock.now()))

    async def found(self, session: SessionDescription) -> SessionRecord:
        """The session as the ledger has it."""
        return await self.ledger.sessions().show(ADMINISTRATOR, session.session_id)

    async def told(self, username: str = "grace") -> list[Notice]:
        """A person's notices of maintenance, the earliest first."""
        found = reversed(await self.notices.unread(username))
        return [one for one in found if one.kind is NoticeKind.MAINTENANCE]


@pytest.fixture
def site(db: AsyncSession, clock: HeldClock) -> Site:
    return Site(db, clock)


async def test_each_person_is_told_once_when_and_why_and_the_stop_is_due_then(
    site: Site, describe: Describe
) -> None:
    mine = await site.runs(describe())
    hers = await site.runs(describe(username="ada", server_name="big"))
    at = site.clock.now() + 2 * HOUR
    both = [mine.session_id, hers.session_id]
    for _ in range(2):  # whoever is interrupted asks again
        found = await site.maintenance.announce(ADMINISTRATOR, both, at, "new disks.")
        assert {(one.stop_due_at, one.stop_due_reason) for one in found} == {(at, "maintenance")}
    [notice] = await site.told()
    assert notice.title == f"Your server 'default' will be stopped on {at:%-d %B at %H:%M} UTC"
    assert "taken out of service then: new disks. Save your work" in notice.text
    assert notice.severity is Severity.URGENT
    assert ["'big'" in one.title for one in await site.told("ada")] == [True]
    assert await site.ledger.sessions().due_for_stop(at - timedelta(seconds=1)) == []
    assert len(await site.ledger.sessions().due_for_stop(at)) == 2
    entries = await site.audit.list(ADMINISTRATOR, action="maintenance-announced")
    assert sorted(str(one.username) for one in entries) == ["ada", "grace"]


async def test_another_time_is_told_anew(site: Site, describe: Describe) -> None:
    session = await site.runs(describe())
    for hours in (2, 1, 2):
        site.clock.advance(timedelta(seconds=1))
        at = site.clock.now() + hours * HOUR
        await site.maintenance.announce(ADMINISTRATOR, [session.session_id], at)
    assert len(await site.told()) == 3
    assert (await site.found(session)).stop_due_at == at


async def test_one_that_only_starts_is_told_too_and_what_is_unknown_is_left_out(
    site: Site, describe: Describe
) -> None:
    session = describe()
    await site.ledger.ledger().apply([event(EventKind.REQUESTED, session, site.clock.now())])
    found = await site.maintenance.announce(
        ADMINISTRATOR, [session.session_id, uuid4()], site.clock.now() + HOUR
    )
    assert [one.session_id for one in found] == [session.session_id]
    assert len(await site.told()) == 1


async def test_taken_back_the_server_goes_on_and_its_person_hears_of_it(
    site: Site, describe: Describe
) -> None:
    session = await site.runs(describe())
    at = site.clock.now() + HOUR
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], at)
    for spared in (1, 0):
        found = await site.maintenance.withdraw(ADMINISTRATOR, [session.session_id])
        assert len(found) == spared
    assert (await site.found(session)).stop_due_at is None
    assert [one.title for one in await site.told()][1:] == ["Your server 'default' goes on"]
    site.clock.advance(timedelta(seconds=1))
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], at)
    assert len(await site.told()) == 3


async def test_after_the_stop_its_person_is_told_once_why(site: Site, describe: Describe) -> None:
    session = await site.runs(describe())
    at = site.clock.now() + HOUR
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], at)
    site.clock.advance(HOUR)
    await site.ends(session)
    assert (await site.found(session)).end_reason == "maintenance"
    assert [await site.maintenance.tell_stopped() for _ in range(2)] == [1, 0]
    notice = (await site.told())[-1]
    assert notice.title == f"Your server 'default' was stopped at {at:%H:%M} UTC"
    assert notice.severity is Severity.WARNING
    assert "what was not saved is gone" in notice.text


async def test_who_stops_it_oneself_before_is_not_told_of_it(
    site: Site, describe: Describe
) -> None:
    session = await site.runs(describe())
    await site.maintenance.announce(
        ADMINISTRATOR, [session.session_id], site.clock.now() + 2 * HOUR
    )
    site.clock.advance(HOUR)
    await site.ends(session)
    assert (await site.found(session)).end_reason == "stopped"
    assert await site.maintenance.tell_stopped() == 0


@pytest.mark.parametrize(("hours", "holds"), [(1, "quota"), (3, "maintenance")])
async def test_of_two_reasons_the_earlier_holds(
    site: Site, describe: Describe, hours: int, holds: str
) -> None:
    session = await site.runs(describe())
    now = site.clock.now()
    await site.ledger.sessions().schedule_stop(session.session_id, now + hours * HOUR, "quota")
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], now + 2 * HOUR)
    found = await site.found(session)
    assert (found.stop_due_reason, found.maintenance_at) == (holds, now + 2 * HOUR)
    assert len(await site.told()) == 1


async def test_a_stop_for_a_quota_that_is_withdrawn_leaves_that_for_the_machine(
    site: Site, describe: Describe
) -> None:
    session = await site.runs(describe())
    now, sessions = site.clock.now(), site.ledger.sessions()
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], now + 2 * HOUR)
    await sessions.schedule_stop(session.session_id, now + HOUR, "quota")
    await sessions.schedule_stop(session.session_id, None)
    found = await site.found(session)
    assert (found.stop_due_at, found.stop_due_reason) == (now + 2 * HOUR, "maintenance")
    await site.maintenance.withdraw(ADMINISTRATOR, [session.session_id])
    assert (await site.found(session)).stop_due_at is None


async def test_a_machine_that_stays_leaves_the_stop_for_the_quota(
    site: Site, describe: Describe
) -> None:
    session = await site.runs(describe())
    now, sessions = site.clock.now(), site.ledger.sessions()
    await site.maintenance.announce(ADMINISTRATOR, [session.session_id], now + 2 * HOUR)
    await sessions.schedule_stop(session.session_id, now + HOUR, "quota")
    await site.maintenance.withdraw(ADMINISTRATOR, [session.session_id])
    found = await site.found(session)
    assert (found.stop_due_at, found.stop_due_reason) == (now + HOUR, "quota")
    assert "keeps its machine, but will be stopped on" in (await site.told())[-1].title
    await sessions.schedule_stop(session.session_id, None)
    assert (await site.found(session)).stop_due_at is None


async def test_only_an_administrator_may(site: Site, describe: Describe) -> None:
    session = await site.runs(describe())
    grace = Principal("grace", PrincipalKind.PERSON)
    with pytest.raises(PermissionDenied):
        await site.maintenance.announce(grace, [session.session_id], site.clock.now())
    with pytest.raises(PermissionDenied):
        await site.maintenance.withdraw(grace, [session.session_id])
