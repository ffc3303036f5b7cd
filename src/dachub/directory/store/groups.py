"""SQL of groups and memberships."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, String, and_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.models import Contacts
from dachub.directory.tables import GroupRow, MembershipRow, PersonRow
from dachub.model.people import Group, GroupMembership, MembershipRecord, Role, Source


@dataclass(frozen=True, slots=True)
class Held:
    """A role a person holds now, by one source."""

    group: str
    username: str
    role: Role
    source: Source
    valid_from: datetime


# Made once: every decision on a start asks for it, and making it costs more than asking.
_GROUP, _MEMBERSHIP, _PERSON = GroupRow.__table__, MembershipRow.__table__, PersonRow.__table__
_CONTACTS = (
    select(_GROUP.c.slug, _GROUP.c.title, _PERSON.c.username, _PERSON.c.full_name)
    .select_from(
        _GROUP.outerjoin(
            _MEMBERSHIP,
            and_(
                _MEMBERSHIP.c.group == _GROUP.c.slug,
                _MEMBERSHIP.c.role == Role.PI.value,
                _MEMBERSHIP.c.valid_to.is_(None),
            ),
        ).outerjoin(_PERSON, _PERSON.c.username == _MEMBERSHIP.c.username)
    )
    .where(_GROUP.c.slug == func.any(bindparam("slugs", type_=ARRAY(String))))
    .order_by(_GROUP.c.slug, _PERSON.c.username)
    .distinct()
)


class GroupStore:
    """Reads and writes groups and memberships."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        slug: str,
        *,
        title: str,
        description: str,
        provider_name: str | None,
        at: datetime,
    ) -> bool:
        """Add a group; ``False`` if the slug or the provider's name is taken."""
        added = await self._session.scalar(
            insert(GroupRow)
            .values(
                slug=slug,
                title=title,
                description=description,
                provider_name=provider_name,
                created_at=at,
            )
            .on_conflict_do_nothing()
            .returning(GroupRow.slug)
        )
        return added is not None

    async def describe(self, slug: str, title: str, description: str) -> None:
        """Set a group's title and description."""
        await self._session.execute(
            update(GroupRow)
            .where(GroupRow.slug == slug)
            .values(title=title, description=description)
        )

    async def slugs_of(self, provider_names: Sequence[str]) -> dict[str, str]:
        """Slug of each group that the provider calls by one of these names."""
        rows = await self._session.execute(
            select(GroupRow.provider_name, GroupRow.slug).where(
                GroupRow.provider_name.in_(provider_names)
            )
        )
        return {name: slug for name, slug in rows if name is not None}

    async def lock(self, slug: str) -> bool:
        """Lock a group against changes of its members; ``False`` if there is none."""
        found = await self._session.scalar(
            select(GroupRow.slug).where(GroupRow.slug == slug).with_for_update(key_share=True)
        )
        return found is not None

    async def groups(self, slugs: Sequence[str] | None = None) -> list[Group]:
        """Groups by slug, without members and PIs."""
        query = select(GroupRow).order_by(GroupRow.slug)
        if slugs is not None:
            query = query.where(GroupRow.slug.in_(slugs))
        rows = await self._session.scalars(query.execution_options(populate_existing=True))
        return [
            Group(
                slug=row.slug,
                title=row.title,
                description=row.description,
                provider_name=row.provider_name,
                created_at=row.created_at,
            )
            for row in rows
        ]

    async def contacts(self, slugs: Collection[str]) -> dict[str, Contacts]:
        """Titles of groups and the names of their PIs, by username."""
        rows = await self._session.execute(_CONTACTS, {"slugs": list(slugs)})
        found: dict[str, Contacts] = {}
        for slug, title, username, full_name in rows:
            before = found.get(slug, Contacts(title))
            named = () if username is None else (full_name or username,)
            found[slug] = Contacts(title, before.pis + named)
        return found

    async def records(
        self, slugs: Sequence[str], *, current: bool, limit: int | None = None
    ) -> list[MembershipRecord]:
        """Memberships of groups: those of now, or all there ever were, newest first."""
        query = (
            select(MembershipRow, PersonRow.full_name)
            .join(PersonRow, PersonRow.username == MembershipRow.username)
            .where(MembershipRow.group.in_(slugs))
            .order_by(MembershipRow.valid_from.desc(), MembershipRow.membership_id.desc())
            .limit(limit)
            .execution_options(populate_existing=True)
        )
        if current:
            query = query.where(MembershipRow.valid_to.is_(None))
        return [
            MembershipRecord(
                username=row.username,
                full_name=full_name,
                group=row.group,
                role=Role(row.role),
                source=Source(row.source),
                valid_from=row.valid_from,
                valid_to=row.valid_to,
            )
            for row, full_name in await self._session.execute(query)
        ]

    async def memberships_of(self, usernames: Sequence[str]) -> dict[str, list[GroupMembership]]:
        """Current memberships of people by group; one a group, the strongest role counts."""
        rows = await self._session.execute(
            select(
                MembershipRow.username,
                MembershipRow.group,
                MembershipRow.role,
                MembershipRow.source,
                GroupRow.title,
            )
            .join(GroupRow, GroupRow.slug == MembershipRow.group)
            .where(MembershipRow.username.in_(usernames), MembershipRow.valid_to.is_(None))
            .order_by(MembershipRow.username, MembershipRow.group)
        )
        strongest: dict[tuple[str, str], GroupMembership] = {}
        for username, group, role, source, title in rows:
            found = GroupMembership(
                group=group, title=title, role=Role(role), source=Source(source)
            )
            known = strongest.get((username, group))
            if known is None or _strength(found) > _strength(known):
                strongest[username, group] = found
        by_person: dict[str, list[GroupMembership]] = {}
        for (username, _), membership in strongest.items():
            by_person.setdefault(username, []).append(membership)
        return by_person

    async def members_by_group(self) -> dict[str, set[str]]:
        """Who belongs to each group now and is not disabled; also groups without anybody."""
        rows = await self._session.execute(
            select(GroupRow.slug, PersonRow.username)
            .outerjoin(
                MembershipRow,
                (MembershipRow.group == GroupRow.slug) & MembershipRow.valid_to.is_(None),
            )
            .outerjoin(
                PersonRow,
                (PersonRow.username == MembershipRow.username) & PersonRow.disabled_at.is_(None),
            )
        )
        found: dict[str, set[str]] = {}
        for slug, username in rows:
            found.setdefault(slug, set()).update({username} if username is not None else ())
        return found

    async def left(self, usernames: Collection[str]) -> set[tuple[str, str]]:
        """(username, group) of people who once were in a group and are no longer."""
        rows = await self._session.execute(
            select(MembershipRow.username, MembershipRow.group)
            .where(MembershipRow.username.in_(usernames))
            .group_by(MembershipRow.username, MembershipRow.group)
            .having(func.bool_and(MembershipRow.valid_to.is_not(None)))
        )
        return {(username, group) for username, group in rows}

    async def held(
        self,
        *,
        group: str | None = None,
        username: str | None = None,
        source: Source | None = None,
    ) -> list[Held]:
        """Roles held now."""
        query = select(MembershipRow).where(MembershipRow.valid_to.is_(None))
        if group is not None:
            query = query.where(MembershipRow.group == group)
        if username is not None:
            query = query.where(MembershipRow.username == username)
        if source is not None:
            query = query.where(MembershipRow.source == source.value)
        rows = await self._session.scalars(query.execution_options(populate_existing=True))
        return [
            Held(row.group, row.username, Role(row.role), Source(row.source), row.valid_from)
            for row in rows
        ]

    async def open(
        self, username: str, group: str, role: Role, source: Source, at: datetime
    ) -> None:
        """Begin a membership."""
        await self._session.execute(
            insert(MembershipRow).values(
                username=username,
                group=group,
                role=role.value,
                source=source.value,
                valid_from=at,
            )
        )

    async def close(self, held: Held, at: datetime) -> None:
        """End a membership; never before it began, whatever the clock did."""
        await self._session.execute(
            update(MembershipRow)
            .where(
                MembershipRow.username == held.username,
                MembershipRow.group == held.group,
                MembershipRow.source == held.source.value,
                MembershipRow.valid_to.is_(None),
            )
            .values(valid_to=func.greatest(MembershipRow.valid_from, at))
        )


def _strength(membership: GroupMembership) -> tuple[int, bool]:
    return membership.role.rank, membership.source is Source.PROVIDER
