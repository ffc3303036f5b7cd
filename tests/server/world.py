"""A small world for the tests of the service: who there is, and in which capacity they call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid5

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.allocations import Recurrence
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import ClaimedMembership, LoginRecord, Role
from dachub.model.sessions import EventKind, SessionDescription, SessionEvent
from dachub.model.usage import Policy, Resource
from dachub.server.factory import Process

OPERATOR = Principal(name="operator:tests", kind=PrincipalKind.OPERATOR)
ISSUER = "https://idp.example/realms/survey"
HUB_TOKEN = "hub-token-of-the-tests-0123456789"
PASSWORD = "correct horse battery"
NAMESPACE = UUID("0b6f7f9c-3f0e-4a53-9d4d-0a6a4ecf0e11")
GROUP = "campaign"


@dataclass(frozen=True)
class World:
    """What was put into the database."""

    session_id: UUID
    ended_id: UUID
    allocation_id: int
    series_id: int
    request_id: int
    own_request_id: int
    notice_id: int
    """A notice to mia."""


def described(process: Process, name: str, username: str, group: str = GROUP) -> SessionDescription:
    """A session that was asked for three hours ago."""
    return SessionDescription(
        session_id=uuid5(NAMESPACE, name),
        username=username,
        group=group,
        server_name="named",
        size="small",
        environment="astronomy",
        milli_cores=2000,
        memory_bytes=2**31,
        requested_at=process.clock.now() - timedelta(hours=3),
    )


def happened(
    process: Process, session: SessionDescription, kind: EventKind, hours_ago: float
) -> SessionEvent:
    """Something that happened to it."""
    started = session.requested_at if kind is not EventKind.REQUESTED else None
    return SessionEvent(
        event_id=uuid5(NAMESPACE, f"{session.session_id}{kind}"),
        kind=kind,
        session=session,
        at=process.clock.now() - timedelta(hours=hours_ago),
        started_at=started,
    )


async def seed(process: Process) -> World:
    """pia leads the campaign, max manages it, mia works in it; oscar has a group of his own.

    adam administers. dora did all of that, and is disabled. lola has a local account.
    """
    async with process.factory() as services:
        for username in ("pia", "max", "mia", "oscar", "adam", "dora", "vera"):
            await services.logins().record(
                LoginRecord(
                    issuer=ISSUER,
                    subject=username,
                    candidate=username,
                    full_name=username.title(),
                    administrator=username in ("adam", "dora"),
                    affiliations=["member@site.example"],
                    memberships=[ClaimedMembership(provider_name="provided")]
                    if username == "vera"
                    else [],
                    at=process.clock.now(),
                )
            )
        await services.accounts().add(OPERATOR, "lola", password=PASSWORD)
        groups = services.groups()
        for slug in (GROUP, "other"):
            await groups.create(OPERATOR, slug, slug.title())
        await groups.set_pi(OPERATOR, GROUP, "pia")
        await groups.set_pi(OPERATOR, GROUP, "dora")
        await groups.put_member(OPERATOR, GROUP, "max", Role.MANAGER)
        await groups.put_member(OPERATOR, GROUP, "mia", Role.MEMBER)
        await groups.put_member(OPERATOR, GROUP, "vera", Role.MEMBER)
        await groups.put_member(OPERATOR, GROUP, "lola", Role.MEMBER)
        await groups.set_pi(OPERATOR, "other", "oscar")
        await services.people().disable(OPERATOR, "dora", "left the survey")
        allocation = await services.allocations().create(
            OPERATOR,
            group=GROUP,
            resource=Resource.CORE_HOURS,
            amount=1000,
            starts_at=process.clock.now() - timedelta(days=30),
            ends_at=process.clock.now() + timedelta(days=300),
            policy=Policy.DENY,
            reason="granted",
        )
        mia = await services.people().principal("mia")
        request = await services.requests().ask(
            mia, group=GROUP, resource=Resource.CORE_HOURS, amount=10, reason="the survey grew"
        )
        await services.limits().set(OPERATOR, GROUP, "mia", Resource.CORE_HOURS, 5, "fair share")
        own_request = await services.requests().ask(
            mia, group=GROUP, resource=Resource.CORE_HOURS, amount=10, reason="mine", own_limit=True
        )
        await services.notices().give(
            ["mia"], key="test", kind=NoticeKind.QUOTA, severity=Severity.WARNING,
            title="Nearly spent", text="Little is left.", group=GROUP,
        )  # fmt: skip
        notice = (await services.notices().unread("mia"))[0]
        series = await services.series().add(
            OPERATOR,
            group="other",
            resource=Resource.CORE_HOURS,
            amount=10,
            every=Recurrence.MONTH,
            reason="granted",
        )
        running = described(process, "running", "mia")
        ended = described(process, "ended", "mia")
        await services.ledger().apply(
            [
                happened(process, running, EventKind.STARTED, 3),
                happened(process, ended, EventKind.STARTED, 3),
                happened(process, ended, EventKind.STOPPED, 1),
            ]
        )
    return World(
        running.session_id,
        ended.session_id,
        allocation.allocation_id,
        series.series_id,
        request.request_id,
        own_request.request_id,
        notice.notice_id,
    )
