"""SQL of people, their affiliations and local accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.models import LeftBehind
from dachub.directory.store.pseudonyms import PSEUDONYM_ISSUER, PseudonymStore
from dachub.directory.tables import (
    AffiliationRow,
    ForgettingRow,
    LocalAccountRow,
    MembershipRow,
    PersonRow,
)
from dachub.model.people import Affiliation, LocalAccount, Person, Role


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a username is bound to, and what decides on a login."""

    username: str
    issuer: str
    subject: str
    claims_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Acting:
    """What decides on what a person may do: ``roles`` by group, the strongest of each."""

    is_administrator: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    roles: dict[str, Role]


_PERSON, _MEMBERSHIP = PersonRow.__table__, MembershipRow.__table__
_ACTING = (
    select(
        _PERSON.c.is_administrator,
        _PERSON.c.disabled_at,
        _PERSON.c.disabled_reason,
        _MEMBERSHIP.c.group,
        _MEMBERSHIP.c.role,
    )
    .join_from(
        _PERSON,
        _MEMBERSHIP,
        and_(_MEMBERSHIP.c.username == _PERSON.c.username, _MEMBERSHIP.c.valid_to.is_(None)),
        isouter=True,
    )
    .where(_PERSON.c.username == bindparam("username"))
    .order_by(_MEMBERSHIP.c.group)
)


class PersonStore:
    """Reads and writes people."""

    def __init__(self, session: AsyncSession, affiliation_stale_after: timedelta) -> None:
        self._session = session
        self._stale_after = affiliation_stale_after
        self._forgotten = PseudonymStore(session)

    async def lock_identity(self, issuer: str, subject: str) -> None:
        """Let logins of one identity pass one at a time, until the transaction ends."""
        await self._session.execute(
            text("select pg_advisory_xact_lock(hashtextextended(:identity, 1))"),
            {"identity": f"{issuer}\n{subject}"},
        )

    async def identity(self, issuer: str, subject: str) -> Identity | None:
        """The binding of an identity, locked against changes."""
        return await self._identity(PersonRow.issuer == issuer, PersonRow.subject == subject)

    async def identity_of(self, username: str) -> Identity | None:
        """The binding of a username, locked against changes."""
        return await self._identity(PersonRow.username == username)

    async def _identity(self, *conditions: object) -> Identity | None:
        query = select(PersonRow).where(*conditions).with_for_update()  # type: ignore[arg-type]
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        if row is None:
            return None
        return Identity(row.username, row.issuer, row.subject, row.claims_at, row.disabled_at)

    async def acting(self, username: str) -> Acting | None:
        """What a person may do now; every request asks, so it is one statement, made once."""
        found = (await self._session.execute(_ACTING, {"username": username})).all()
        if not found:
            return None
        roles: dict[str, Role] = {}
        for *_, group, role in found:
            if group is not None:
                roles[group] = max(roles.get(group, Role.MEMBER), Role(role), key=_rank)
        return Acting(*found[0][:3], roles)

    async def bind(self, username: str, issuer: str, subject: str, at: datetime) -> bool:
        """Bind a username; ``False`` if it (or the identity) is bound already, also just now.

        So it is for a name that was forgotten: its account and home may still be there.
        """
        bound = await self._session.scalar(
            insert(PersonRow)
            .values(
                username=username,
                issuer=issuer,
                subject=subject,
                full_name="",
                email="",
                is_administrator=False,
                created_at=at,
            )
            .on_conflict_do_nothing()
            .returning(PersonRow.username)
        )
        if bound is None:
            return False
        # Looked up only now: the insert may have waited for the name to be forgotten.
        if await self.is_forgotten(username):
            await self._session.execute(delete(PersonRow).where(PersonRow.username == username))
            return False
        return True

    async def describe(
        self, username: str, *, full_name: str, email: str, administrator: bool
    ) -> None:
        """Set what the person is called and whether they administer."""
        await self._change(
            username, full_name=full_name, email=email, is_administrator=administrator
        )

    async def seen(self, username: str, *, claims_at: datetime, login_at: datetime | None) -> None:
        """Note when claims were made and, for a login, when it was."""
        await self._change(username, claims_at=claims_at)
        if login_at is not None:
            await self._change(
                username, last_login_at=func.greatest(PersonRow.last_login_at, login_at)
            )

    async def set_disabled(self, username: str, at: datetime | None, reason: str | None) -> None:
        """Disable (or, with ``None``, enable) a person."""
        await self._change(
            username, disabled_at=at, disabled_reason=reason, disable_enforced_at=None
        )

    async def set_enforced(self, left: LeftBehind, at: datetime) -> None:
        """Note that the hub ended everything of a person who is still disabled."""
        await self._session.execute(
            update(PersonRow)
            .where(PersonRow.username == left.username, PersonRow.disabled_at == left.disabled_at)
            .values(disable_enforced_at=at)
        )

    async def left_behind(self) -> list[LeftBehind]:
        """Disabled people whose servers and tokens the hub has not ended yet."""
        rows = await self._session.execute(
            select(PersonRow.username, PersonRow.disabled_at).where(
                PersonRow.disabled_at.is_not(None), PersonRow.disable_enforced_at.is_(None)
            )
        )
        return [LeftBehind(username, at) for username, at in rows if at is not None]

    async def disabled(self) -> set[str]:
        """Usernames of disabled people."""
        return set(
            await self._session.scalars(
                select(PersonRow.username).where(PersonRow.disabled_at.is_not(None))
            )
        )

    async def administrators(self) -> list[str]:
        """Usernames of administrators who are not disabled."""
        return list(
            await self._session.scalars(
                select(PersonRow.username)
                .where(PersonRow.is_administrator, PersonRow.disabled_at.is_(None))
                .order_by(PersonRow.username)
            )
        )

    async def _change(self, username: str, **values: object) -> None:
        await self._session.execute(
            update(PersonRow).where(PersonRow.username == username).values(**values)
        )

    async def people(
        self,
        *,
        now: datetime,
        usernames: Sequence[str] | None = None,
        search: str = "",
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Person]:
        """People by username, with their affiliations, without their groups.

        ``search`` is part of a name, address or affiliation.
        """
        query = select(PersonRow).order_by(PersonRow.username).limit(limit)
        if usernames is not None:
            query = query.where(PersonRow.username.in_(usernames))
        else:
            query = query.where(PersonRow.issuer != PSEUDONYM_ISSUER)
        if after is not None:
            query = query.where(PersonRow.username > after)
        if search:
            named = (PersonRow.username, PersonRow.full_name, PersonRow.email)
            affiliated = select(AffiliationRow.username).where(
                AffiliationRow.value.icontains(search, autoescape=True)
            )
            query = query.where(
                or_(
                    *(column.icontains(search, autoescape=True) for column in named),
                    PersonRow.username.in_(affiliated),
                )
            )
        rows = (await self._session.scalars(query.execution_options(populate_existing=True))).all()
        affiliations = await self._affiliations([row.username for row in rows], now)
        return [
            Person(
                username=row.username,
                full_name=row.full_name,
                email=row.email,
                issuer=row.issuer,
                administrator=row.is_administrator,
                disabled_at=row.disabled_at,
                disabled_reason=row.disabled_reason,
                created_at=row.created_at,
                last_login_at=row.last_login_at,
                affiliations=affiliations.get(row.username, []),
            )
            for row in rows
        ]

    async def count(self) -> int:
        """How many people are registered."""
        people = select(func.count()).where(PersonRow.issuer != PSEUDONYM_ISSUER)
        return await self._session.scalar(people) or 0

    async def usernames(self) -> set[str]:
        """Everybody's, pseudonyms included."""
        return set(await self._session.scalars(select(PersonRow.username)))

    async def is_forgotten(self, username: str) -> bool:
        """Whether the name was somebody's who was forgotten."""
        return bool(await self._forgotten.links([username]))

    async def is_being_forgotten(self, username: str) -> bool:
        """Whether somebody asked for it."""
        asked = select(ForgettingRow.username).where(ForgettingRow.username == username)
        return await self._session.scalar(asked) is not None

    async def _affiliations(
        self, usernames: Sequence[str], now: datetime
    ) -> dict[str, list[Affiliation]]:
        rows = await self._session.scalars(
            select(AffiliationRow)
            .where(AffiliationRow.username.in_(usernames))
            .order_by(AffiliationRow.last_asserted_at.desc(), AffiliationRow.value)
            .execution_options(populate_existing=True)
        )
        found: dict[str, list[Affiliation]] = {}
        for row in rows:
            found.setdefault(row.username, []).append(
                Affiliation(
                    value=row.value,
                    asserted_by=row.asserted_by,
                    first_asserted_at=row.first_asserted_at,
                    last_asserted_at=row.last_asserted_at,
                    current=row.withdrawn_at is None,
                    stale=now - row.last_asserted_at > self._stale_after,
                )
            )
        return found

    async def current_affiliations(self) -> dict[str, list[str]]:
        """What is currently asserted of everybody, the last asserted first."""
        rows = await self._session.execute(
            select(AffiliationRow.username, AffiliationRow.value)
            .where(AffiliationRow.withdrawn_at.is_(None))
            .order_by(AffiliationRow.last_asserted_at.desc(), AffiliationRow.value)
        )
        found: dict[str, list[str]] = {}
        for username, value in rows:
            found.setdefault(username, []).append(value)
        return found

    async def assert_affiliations(
        self, username: str, issuer: str, values: Sequence[str], at: datetime
    ) -> None:
        """Make ``values`` the issuer's current assertion; what it no longer says is withdrawn."""
        await self._session.execute(
            update(AffiliationRow)
            .where(
                AffiliationRow.username == username,
                AffiliationRow.asserted_by == issuer,
                AffiliationRow.withdrawn_at.is_(None),
                AffiliationRow.value.not_in(values),
            )
            .values(withdrawn_at=at)
        )
        if not values:
            return
        new = insert(AffiliationRow).values(
            [
                {
                    "username": username,
                    "value": value,
                    "asserted_by": issuer,
                    "first_asserted_at": at,
                    "last_asserted_at": at,
                }
                for value in values
            ]
        )
        await self._session.execute(
            new.on_conflict_do_update(
                index_elements=["username", "value", "asserted_by"],
                set_={"last_asserted_at": at, "withdrawn_at": None},
            )
        )


def _rank(role: Role) -> int:
    return role.rank


class LocalAccountStore:
    """Reads and writes the passwords of local accounts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def password_hash(self, username: str) -> str | None:
        """Hash of a person's password, locked against changes; ``None`` without local account."""
        return await self._session.scalar(
            select(LocalAccountRow.password_hash)
            .where(LocalAccountRow.username == username)
            .with_for_update()
        )

    async def put(self, username: str, password_hash: str, at: datetime) -> None:
        """Set the password hash of a person."""
        new = insert(LocalAccountRow).values(
            username=username, password_hash=password_hash, changed_at=at
        )
        await self._session.execute(
            new.on_conflict_do_update(
                index_elements=["username"],
                set_={"password_hash": password_hash, "changed_at": at},
            )
        )

    async def list(self) -> list[LocalAccount]:
        """All local accounts, by username."""
        rows = await self._session.execute(
            select(LocalAccountRow.password_hash, PersonRow)
            .join(PersonRow, PersonRow.username == LocalAccountRow.username)
            .order_by(PersonRow.username)
            .execution_options(populate_existing=True)
        )
        return [
            LocalAccount(
                username=person.username,
                password_hash=password_hash,
                administrator=person.is_administrator,
                disabled=person.disabled_at is not None,
                full_name=person.full_name,
                email=person.email,
            )
            for password_hash, person in rows
        ]
