"""People: who is registered, who they are when they act, and who may no longer."""

from __future__ import annotations

from collections.abc import Sequence

from dachub.directory.models import AccountDisabled, LeftBehind, Principal, PrincipalKind
from dachub.directory.services.audit import AuditService
from dachub.directory.services.text import clean, given_reason
from dachub.directory.store.groups import GroupStore
from dachub.directory.store.people import PersonStore
from dachub.infra.clock import Clock
from dachub.model.people import Person, institution
from dachub.model.problems import Conflict, NotFound

PEOPLE_MAX = 1000


class PeopleService:
    """Shows, disables and enables people."""

    def __init__(
        self, people: PersonStore, groups: GroupStore, audit: AuditService, clock: Clock
    ) -> None:
        self._people = people
        self._groups = groups
        self._audit = audit
        self._clock = clock

    async def person(self, username: str) -> Person:
        """A person with affiliations and current groups; asks nobody's rights.

        Raises
        ------
        NotFound
            If no such person is registered.
        """
        found = await self._people.people(now=self._clock.now(), usernames=[username])
        if not found:
            raise _unknown(username)
        return (await self._with_groups(found))[0]

    async def show(self, by: Principal, username: str) -> Person:
        """A person, for themselves or an administrator.

        Raises
        ------
        PermissionDenied
            If ``by`` is neither of them, whether or not there is such a person.
        NotFound
            If there is none.
        """
        by.require_self(username)
        return await self.person(username)

    async def list(
        self,
        by: Principal,
        *,
        search: str = "",
        after: str | None = None,
        limit: int = PEOPLE_MAX,
    ) -> Sequence[Person]:
        """People by username, at most 1000; ``after`` a username continues a page.

        ``search`` is part of a username, full name, email address or affiliation.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        found = await self._people.people(
            now=self._clock.now(),
            search=clean(search, 200),
            after=None if after is None else clean(after, 32),
            limit=max(1, min(limit, PEOPLE_MAX)),
        )
        return await self._with_groups(found)

    async def count(self) -> int:
        """How many people are registered."""
        return await self._people.count()

    async def institutions(self) -> dict[str, str]:
        """Username -> institution, of everybody who has one; the rule is :func:`institution`."""
        current = await self._people.current_affiliations()
        return {username: institution(values) for username, values in current.items()}

    async def administrators(self) -> Sequence[str]:
        """Usernames of everybody who administers and is not disabled."""
        return await self._people.administrators()

    async def usernames(self) -> set[str]:
        """Everybody's."""
        return await self._people.usernames()

    async def is_forgotten(self, username: str) -> bool:
        """Whether the name was somebody's who was forgotten."""
        return await self._people.is_forgotten(username)

    async def _with_groups(self, people: Sequence[Person]) -> Sequence[Person]:
        groups = await self._groups.memberships_of([person.username for person in people])
        return [
            person.model_copy(update={"groups": groups.get(person.username, [])})
            for person in people
        ]

    async def principal(
        self, username: str, kind: PrincipalKind = PrincipalKind.PERSON
    ) -> Principal:
        """Who ``username`` is when they act: with their roles of this moment.

        Raises
        ------
        AccountDisabled
            If an administrator disabled the person.
        NotFound
            If no such person is registered.
        """
        person = await self._people.acting(username)
        if person is None:
            raise _unknown(username)
        if person.disabled_at is not None:
            raise AccountDisabled(
                "This account was disabled by an administrator"
                + (f": {person.disabled_reason}." if person.disabled_reason else ".")
                + " Ask them if you think that is a mistake."
            )
        return Principal(
            name=username,
            kind=kind,
            administrator=person.is_administrator,
            roles=person.roles,
        )

    async def disable(self, by: Principal, username: str, reason: str) -> Person:
        """Refuse a person everything from now on; servers and tokens are ended at once after.

        Raises
        ------
        PermissionDenied, NotFound
        InvalidInput
            Without a reason.
        Conflict
            If an administrator would lock themselves out.
        """
        by.require_administrator()
        reason = given_reason(
            reason.rstrip(". "), "Give the reason: the person and other administrators see it."
        )
        if by.name == username:
            raise Conflict("You cannot disable yourself; ask another administrator.")
        person = await self._locked(username)
        if person.disabled_at is None:
            await self._people.set_disabled(username, self._clock.now(), reason)
            await self._audit.record(by, "user-disabled", username=username, reason=reason)
        return await self.person(username)

    async def enable(self, by: Principal, username: str) -> Person:
        """Let a disabled person in again.

        Raises
        ------
        PermissionDenied, NotFound
        Conflict
            If the person is being forgotten.
        """
        by.require_administrator()
        person = await self._locked(username)
        if await self._people.is_being_forgotten(username):
            raise Conflict(f"'{username}' is being forgotten; that cannot be taken back.")
        if person.disabled_at is not None:
            await self._people.set_disabled(username, None, None)
            await self._audit.record(by, "user-enabled", username=username)
        return await self.person(username)

    async def _locked(self, username: str) -> Person:
        await self._people.identity_of(username)
        return await self.person(username)

    async def disabled(self) -> set[str]:
        """Usernames of everybody disabled."""
        return await self._people.disabled()

    async def left_behind(self) -> Sequence[LeftBehind]:
        """Disabled people whose servers and tokens the hub has not ended yet."""
        return await self._people.left_behind()

    async def enforced(self, left: LeftBehind) -> None:
        """Note that the hub has ended everything of a disabled person."""
        await self._people.set_enforced(left, self._clock.now())


def _unknown(username: str) -> NotFound:
    return NotFound(f"There is no person '{clean(username, 40)}'.")
