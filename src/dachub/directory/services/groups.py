"""Groups: who belongs to them in which role, with the history of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dachub.directory.models import (
    Contacts,
    LastPI,
    Listener,
    MembershipChange,
    Principal,
    PrincipalKind,
    ProviderMembership,
    nobody,
)
from dachub.directory.services.audit import AuditService
from dachub.directory.services.text import clean, clean_lines
from dachub.directory.store.groups import GroupStore
from dachub.directory.store.people import PersonStore
from dachub.infra.clock import Clock
from dachub.model.people import Group, GroupMembership, MembershipRecord, Role, Source
from dachub.model.problems import Conflict, InvalidInput, NotFound, PermissionDenied

HISTORY_MAX = 1000


class GroupService:
    """Shows and changes groups; the provider's memberships are only shown."""

    def __init__(
        self,
        groups: GroupStore,
        people: PersonStore,
        audit: AuditService,
        clock: Clock,
        listener: Listener = nobody,
    ) -> None:
        self._groups = groups
        self._people = people
        self._audit = audit
        self._clock = clock
        self._listener = listener

    async def create(self, by: Principal, slug: str, title: str, description: str = "") -> Group:
        """Add a local group.

        Raises
        ------
        PermissionDenied
        Conflict
            If there is such a group.
        """
        by.require_administrator()
        title = clean(title, 200)
        added = await self._groups.add(
            slug,
            title=title,
            description=clean_lines(description, 4000),
            provider_name=None,
            at=self._clock.now(),
        )
        if not added:
            raise Conflict(f"There is a group '{slug}' already; choose another name.")
        await self._audit.record(by, "group-added", group=slug, title=title)
        return await self.group(slug)

    async def describe(self, by: Principal, slug: str, title: str, description: str) -> Group:
        """Give a group another title and description; its name in reports stays.

        Raises
        ------
        PermissionDenied
            If ``by`` is neither PI of the group, in person, nor administers.
        NotFound
            If there is no such group, or ``by`` may not know of it.
        InvalidInput
            Without a title.
        """
        await self._may_change(by, slug)
        by.require(slug, Role.PI)
        title, description = clean(title, 200), clean_lines(description, 4000)
        if not title:
            raise InvalidInput("A group needs a title.")
        before = await self.group(slug)
        if (title, description) != (before.title, before.description):
            await self._groups.describe(slug, title, description)
            await self._audit.record(
                by, "group-described", group=slug, title=title, old_title=before.title
            )
        return await self.group(slug)

    async def list(self, by: Principal) -> Sequence[Group]:
        """All groups for an administrator, for others their own; with PIs, without members.

        Raises
        ------
        PermissionDenied
            If ``by`` is no person.
        """
        if by.kind is PrincipalKind.HUB:
            raise PermissionDenied("The hub is in no group.")
        slugs = None if by.is_administrator else list(by.roles)
        return await self._complete(await self._groups.groups(slugs), members=False)

    async def show(self, by: Principal, slug: str) -> Group:
        """A group with its members, for its members and administrators.

        Raises
        ------
        NotFound
            If there is none, or ``by`` may not know of it.
        """
        if not by.has(slug, Role.MEMBER):
            raise _no_group(slug)
        return await self.group(slug)

    async def group(self, slug: str) -> Group:
        """A group with its members; asks nobody's rights.

        Raises
        ------
        NotFound
        """
        found = await self._complete(await self._groups.groups([slug]), members=True)
        if not found:
            raise _no_group(slug)
        return found[0]

    async def history(self, by: Principal, slug: str) -> Sequence[MembershipRecord]:
        """All memberships there ever were, newest first, at most 1000; for managers.

        Raises
        ------
        PermissionDenied
        """
        by.require(slug, Role.MANAGER)
        return await self._groups.records([slug], current=False, limit=HISTORY_MAX)

    async def memberships_of(self, username: str) -> Sequence[GroupMembership]:
        """Groups a person is in now, by slug; of two roles in a group the stronger counts."""
        return (await self._groups.memberships_of([username])).get(username, [])

    async def members_by_group(self) -> dict[str, set[str]]:
        """Who may use each group now, by slug: its members who are not disabled."""
        return await self._groups.members_by_group()

    async def left(self, usernames: Collection[str]) -> set[tuple[str, str]]:
        """(username, group) of those among ``usernames`` who once were in a group and left it."""
        return await self._groups.left(usernames)

    async def title(self, slug: str) -> str:
        """Title of a group; empty where it has none.

        Raises
        ------
        NotFound
        """
        found = await self._groups.groups([slug])
        if not found:
            raise _no_group(slug)
        return found[0].title

    async def pis(self, slug: str) -> Sequence[str]:
        """Usernames of a group's PIs."""
        return _pis(await self._groups.records([slug], current=True))

    async def contacts(self, slugs: Collection[str]) -> dict[str, Contacts]:
        """Titles and PIs of groups, for those among ``slugs`` that there are."""
        return await self._groups.contacts(slugs)

    async def members(self, slug: str) -> Sequence[MembershipRecord]:
        """Current members by username, one record each: that of the strongest role."""
        return _strongest(await self._groups.records([slug], current=True))

    async def put_member(
        self, by: Principal, slug: str, username: str, role: Role
    ) -> MembershipRecord:
        """Make somebody a local member with ``role``, or give them another role.

        Raises
        ------
        PermissionDenied
            If ``by`` is not manager or PI of the group, or touches a PI without administering.
        NotFound
            If there is no such group or person.
        LastPI
            If the group would be left without a PI.
        """
        await self._may_change(by, slug)
        if role is Role.PI and not by.is_administrator:
            raise PermissionDenied("Only administrators appoint PIs.")
        person = await self._people.identity_of(username)
        if person is None:
            raise NotFound(
                f"There is no person '{clean(username, 40)}'. People are known from "
                "their first sign-in on, or by a local account."
            )
        if person.disabled_at is not None and not by.is_administrator:
            raise Conflict(f"The account '{username}' is disabled; ask an administrator.")
        held = await self._groups.held(group=slug, username=username, source=Source.LOCAL)
        old = held[0] if held else None
        if old is None or old.role is not role:
            if old is not None:
                await self._may_end_role(by, slug, username, old.role)
                await self._groups.close(old, self._clock.now())
            await self._groups.open(username, slug, role, Source.LOCAL, self._clock.now())
            await self._audit.record(
                by,
                "member-added" if old is None else "role-changed",
                username=username,
                group=slug,
                role=role.value,
                **({} if old is None else {"old_role": old.role.value}),
            )
            await self._tell(by, slug, username, role)
        records = await self._groups.records([slug], current=True)
        return next(
            record
            for record in records
            if record.username == username and record.source is Source.LOCAL
        )

    async def set_pi(self, by: Principal, slug: str, username: str) -> MembershipRecord:
        """Make somebody PI of a group; a group may have several.

        Raises
        ------
        PermissionDenied, NotFound
        """
        by.require_administrator()
        return await self.put_member(by, slug, username, Role.PI)

    async def remove_member(self, by: Principal, slug: str, username: str) -> None:
        """End a person's local membership now; their history stays.

        Raises
        ------
        PermissionDenied
            As with :meth:`put_member`.
        NotFound
            If there is no such group, or the person is no member.
        ProviderMembership
            If only the identity provider asserts the membership: it must be ended there.
        LastPI
            If the group would be left without a PI.
        """
        await self._may_change(by, slug)
        held = await self._groups.held(group=slug, username=username)
        local = next((found for found in held if found.source is Source.LOCAL), None)
        if local is None:
            if held:
                raise ProviderMembership(
                    f"The identity provider says that '{username}' belongs to '{slug}'. "
                    "End the membership there; it ends here within minutes."
                )
            raise NotFound(f"'{clean(username, 40)}' is not a member of the group '{slug}'.")
        await self._may_end_role(by, slug, username, local.role)
        await self._groups.close(local, self._clock.now())
        await self._audit.record(
            by, "member-removed", username=username, group=slug, source=Source.LOCAL.value
        )
        left = next((found.role for found in held if found is not local), None)
        await self._tell(by, slug, username, left)

    async def _tell(self, by: Principal, slug: str, username: str, role: Role | None) -> None:
        title = await self.title(slug) or slug
        await self._listener(
            MembershipChange(slug, title, username, role, by.name, self._clock.now())
        )

    async def leave_all(self, username: str) -> None:
        """End every membership of somebody who goes for good; asks nobody's rights."""
        for held in await self._groups.held(username=username):
            await self._groups.close(held, self._clock.now())

    async def _may_change(self, by: Principal, slug: str) -> None:
        """Raise unless ``by`` may change members of the group; then lock it."""
        if by.kind is PrincipalKind.SERVER:
            raise PermissionDenied(
                "A server's own token cannot change groups; use the portal or a token of your own."
            )
        if not by.has(slug, Role.MEMBER):
            raise _no_group(slug)
        by.require(slug, Role.MANAGER)
        if not await self._groups.lock(slug):
            raise _no_group(slug)

    async def _may_end_role(self, by: Principal, slug: str, username: str, role: Role) -> None:
        if role is not Role.PI:
            return
        if not by.is_administrator:
            raise PermissionDenied("Only administrators change or remove PIs.")
        held = await self._groups.held(group=slug)
        others = {
            (found.username, found.source)
            for found in held
            if found.role is Role.PI and (found.username, found.source) != (username, Source.LOCAL)
        }
        if not others:
            raise LastPI(
                f"'{username}' is the only PI of the group '{slug}'. Appoint another PI first."
            )

    async def _complete(self, groups: Sequence[Group], *, members: bool) -> Sequence[Group]:
        records: dict[str, list[MembershipRecord]] = {}
        for record in await self._groups.records([group.slug for group in groups], current=True):
            records.setdefault(record.group, []).append(record)
        return [
            group.model_copy(
                update={
                    "pis": _pis(records.get(group.slug, [])),
                    "members": _strongest(records.get(group.slug, [])) if members else [],
                }
            )
            for group in groups
        ]


def _no_group(slug: str) -> NotFound:
    return NotFound(f"There is no group '{clean(slug, 40)}' that you belong to.")


def _pis(records: Sequence[MembershipRecord]) -> list[str]:
    return sorted({record.username for record in records if record.role is Role.PI})


def _strongest(records: Sequence[MembershipRecord]) -> list[MembershipRecord]:
    strongest: dict[str, MembershipRecord] = {}
    for record in records:
        known = strongest.get(record.username)
        if known is None or (record.role.rank, record.source) > (known.role.rank, known.source):
            strongest[record.username] = record
    return [strongest[username] for username in sorted(strongest)]
