"""The ledger's services on a real PostgreSQL, and short ways to tell of sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.services import Accounting
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import Directory
from dachub.directory.settings import DirectorySettings
from dachub.directory.tables import GroupRow, MembershipRow, PersonRow
from dachub.infra.clock import Clock, HeldClock
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent

ADMINISTRATOR = Principal("root-admin", PrincipalKind.PERSON, administrator=True)


def accounting(session: AsyncSession, clock: Clock) -> Accounting:
    """The ledger's services on ``session``."""
    return Accounting(session, clock, 30, Directory(session, clock, DirectorySettings()))


@pytest.fixture
def services(db: AsyncSession, clock: HeldClock) -> Accounting:
    """Services whose work is rolled back."""
    return accounting(db, clock)


@pytest.fixture
async def lensing(db: AsyncSession, clock: HeldClock) -> str:
    """The group `lensing` with its PI `ada` (Ada Lovelace) and its member `grace`."""
    await db.execute(
        insert(GroupRow).values(slug="lensing", title="Weak lensing", created_at=clock.now())
    )
    for username, name, role in [
        ("ada", "Ada Lovelace", "pi"),
        ("grace", "Grace Hopper", "member"),
    ]:
        await db.execute(
            insert(PersonRow).values(
                username=username,
                issuer="local",
                subject=username,
                full_name=name,
                created_at=clock.now(),
            )
        )
        await db.execute(
            insert(MembershipRow).values(
                username=username,
                group="lensing",
                role=role,
                source="local",
                valid_from=clock.now() - timedelta(days=100),
            )
        )
    return "lensing"


Describe = Callable[..., SessionDescription]


@pytest.fixture
def describe(clock: HeldClock) -> Describe:
    """Describes a session of grace on lensing, requested now unless told otherwise."""

    def make(**changes: object) -> SessionDescription:
        return SessionDescription.model_validate(
            {
                "session_id": uuid4(),
                "username": "grace",
                "group": "lensing",
                "size": "small",
                "environment": "astronomy",
                "milli_cores": 1000,
                "memory_bytes": 2**31,
                "requested_at": clock.now(),
                **changes,
            }
        )

    return make


def event(
    kind: EventKind,
    session: SessionDescription,
    at: datetime,
    *,
    started_at: datetime | None = None,
    estimate: bool = False,
    reason: EndReason | None = None,
    event_id: UUID | None = None,
) -> SessionEvent:
    """An event as the hub sends it."""
    return SessionEvent(
        event_id=event_id or uuid4(),
        kind=kind,
        session=session,
        at=at,
        started_at=started_at,
        end_is_estimate=estimate,
        end_reason=reason,
    )


def life(
    session: SessionDescription, started_at: datetime, ended_at: datetime | None = None
) -> list[SessionEvent]:
    """The events of a session in their order."""
    told = [
        event(EventKind.REQUESTED, session, session.requested_at),
        event(EventKind.STARTED, session, started_at, started_at=started_at),
    ]
    if ended_at is not None:
        told.append(event(EventKind.STOPPED, session, ended_at, started_at=started_at))
    return told
