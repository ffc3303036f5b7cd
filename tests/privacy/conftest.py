"""People with a past: sessions, memberships, notices and a mention in every table."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, cast, func, insert, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from dachub import migrations
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import PersonRow
from dachub.infra.personal import Personal
from dachub.model.people import ClaimedMembership, LoginRecord
from dachub.model.sessions import EventKind, SessionDescription, SessionEvent
from dachub.privacy.store.records import all_records
from dachub.server.factory import Factory

assert migrations.head(), "importing it registers every table"

ADMIN = Principal(name="operator:root", kind=PrincipalKind.OPERATOR)
ISSUER = "https://idp.example/realms/survey"


async def sign_in(factory: Factory, candidate: str, full_name: str = "", **claims: object) -> str:
    """Sign somebody in at the provider; gives their username."""
    person = await factory.logins().record(
        LoginRecord.model_validate(
            {
                "issuer": ISSUER,
                "subject": f"subject of {candidate}",
                "candidate": candidate,
                "full_name": full_name,
                "email": f"{candidate}@mail.example",
                "affiliations": ["staff@obs.example"],
                "memberships": [ClaimedMembership(provider_name="lensing")],
                "at": factory.clock.now(),
                **claims,
            }
        )
    )
    return person.username


def session_of(username: str, requested_at: datetime, **changes: object) -> SessionDescription:
    """A session as the hub describes it."""
    return SessionDescription.model_validate(
        {
            "session_id": uuid4(),
            "username": username,
            "group": "lensing",
            "size": "small",
            "environment": "astronomy",
            "milli_cores": 1000,
            "memory_bytes": 2**31,
            "requested_at": requested_at,
            **changes,
        }
    )


def told(session: SessionDescription, hours: float | None) -> list[SessionEvent]:
    """What the hub tells of a session that ran for so many hours (still runs: ``None``)."""
    start = session.requested_at
    kinds = [(EventKind.STARTED, start)]
    if hours is not None:
        kinds.append((EventKind.STOPPED, start + timedelta(hours=hours)))
    return [
        SessionEvent(event_id=uuid4(), kind=kind, session=session, at=at, started_at=start)
        for kind, at in kinds
    ]


async def ran(factory: Factory, username: str, started_at: datetime, hours: float) -> UUID:
    """Have a session in the ledger."""
    session = session_of(username, started_at)
    receipt = await factory.ledger().apply(told(session, hours))
    assert receipt.refused == []
    return session.session_id


def tables() -> list[tuple[Any, Personal]]:
    """Every table with what it states."""
    return [(records.table, records.personal) for records in all_records()]


async def holds(db: AsyncSession, text: str) -> list[str]:
    """Columns in which ``text`` stands anywhere, in whatever table."""
    await db.flush()
    found = []
    for table, _ in tables():
        for column in table.columns:
            count = await db.scalar(
                select(func.count()).where(cast(column, Text).contains(text, autoescape=True))
            )
            if count:
                found.append(f"{table.name}.{column.name}")
    return sorted(found)


async def fill(db: AsyncSession, username: str, mention: str, at: datetime) -> None:
    """Put a row about (or by) a person into every table that has none, whatever it is.

    Written texts mention the person too: so a new table is tried without a word about it here.
    """
    known = await db.scalar(select(PersonRow.username).where(PersonRow.username == username))
    for table, personal in tables():
        if table.name in ("person", "pseudonym", "forgetting", "forgotten_name"):
            continue  # made by what is tested
        if not known and any(key.column.table.name == "person" for key in table.foreign_keys):
            continue
        own = (
            or_(*(table.c[name] == username for name in personal.names))
            if personal.names
            else true()
        )
        written = personal.names and personal.texts + personal.documents
        if not written and await db.scalar(select(func.count()).select_from(table).where(own)):
            continue
        values = {
            column.name: _some_value(column, at)
            for column in table.columns
            if not column.nullable and column.identity is None
        }
        for column in table.columns:
            for key in column.foreign_keys:
                values[column.name] = await db.scalar(select(key.column).limit(1))
        values |= dict.fromkeys(personal.texts, mention)
        values |= {name: [f"so says {mention}."] for name in personal.documents}
        if personal.since is not None:
            values[personal.since] = at
        if personal.only_where is not None:
            values[personal.only_where[0]] = personal.only_where[1]
        values |= dict.fromkeys(personal.names, username)
        allowed = _allowed(table)
        values |= {name: value for name, value in allowed.items() if name in values}
        await db.execute(insert(table).values(values))


def _allowed(table: Any) -> dict[str, str]:
    """Values that the checks of a table allow, of those columns that have one."""
    checks = " ".join(str(getattr(check, "sqltext", "")) for check in table.constraints)
    return dict(reversed(re.findall(r"(\w+) in \('([^']+)'", checks)))


def _some_value(column: Any, at: datetime) -> object:
    if isinstance(column.type, JSONB):
        return []
    kind = column.type.python_type
    if kind is datetime:
        return at + timedelta(hours=len(column.name))
    if kind is date:
        return at.date()
    if kind is UUID:
        return uuid4()
    return "x" if kind is str else kind(1)
