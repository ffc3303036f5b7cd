"""Forgetting people: their names go, what they used stays under a pseudonym."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService, PeopleService, PseudonymService
from dachub.directory.services.text import clean, given_reason
from dachub.infra.clock import Clock
from dachub.model.names import is_pseudonym
from dachub.model.people import Person
from dachub.model.problems import InvalidInput
from dachub.privacy.models import BeingForgotten, Forgetting, ForgettingAsked
from dachub.privacy.store.forgetting import ForgettingStore
from dachub.privacy.store.records import RecordStore

DISABLED_BECAUSE = "to be forgotten"


class ForgettingService:
    """Notes who is to be forgotten, and forgets them once the hub has let go of them.

    Parameters
    ----------
    alone
        Makes this transaction the only one that writes to the ledger.
    """

    def __init__(
        self,
        store: ForgettingStore,
        records: RecordStore,
        people: PeopleService,
        groups: GroupService,
        pseudonyms: PseudonymService,
        audit: AuditService,
        clock: Clock,
        alone: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._records = records
        self._people = people
        self._groups = groups
        self._pseudonyms = pseudonyms
        self._audit = audit
        self._clock = clock
        self._alone = alone

    async def ask(
        self, by: Principal, username: str, reason: str, *, delete_home: bool = False
    ) -> ForgettingAsked:
        """Have somebody forgotten: disabled now, forgotten once nothing of theirs runs.

        Parameters
        ----------
        reason
            Kept in the audit log; it should not name the person.

        Raises
        ------
        PermissionDenied, NotFound
        InvalidInput
            Without a reason, or for a pseudonym: who that was is not known any more.
        Conflict
            If an administrator asks for themselves.
        BeingForgotten
            If it was asked for already.
        """
        by.require_administrator()
        reason = given_reason(
            reason, "Give the reason, without the name: it is kept in the audit log."
        )
        if is_pseudonym(username):
            raise InvalidInput(f"'{clean(username, 40)}' is a pseudonym: that person is forgotten.")
        await self._people.disable(by, username, DISABLED_BECAUSE)
        asked = await self._store.add(
            username,
            asked_by=by.name,
            at=self._clock.now(),
            reason=reason,
            delete_home=delete_home,
        )
        if not asked:
            raise BeingForgotten(f"'{username}' is being forgotten already.")
        await self._audit.record(by, "forgetting-asked", username=username, home=delete_home)
        pseudonym = await self._pseudonyms.known(username)
        own = [username] if pseudonym is None else [username, pseudonym]
        return ForgettingAsked(
            username=username, delete_home=delete_home, sent=await self._records.sent(own)
        )

    async def pending(self) -> Sequence[Forgetting]:
        """Who is to be forgotten; asks nobody's rights."""
        return await self._store.pending()

    async def finish(self, username: str) -> str | None:
        """Forget a person, all of it in this transaction.

        Returns
        -------
        str or None
            The pseudonym; ``None`` if somebody else was faster, or the person is not yet ready.
        """
        await self._alone()
        found = await self._store.lock(username)
        if found is None or not found.ready:
            return None
        person = await self._people.person(username)
        await self._groups.leave_all(username)
        pseudonym = await self._pseudonyms.give(username)
        await self._records.forget(username, pseudonym, _other_names(person))
        await self._pseudonyms.bury(username, pseudonym)
        await self._audit.record(
            Principal(name=found.asked_by, kind=PrincipalKind.PERSON),
            "user-forgotten",
            username=pseudonym,
            reason=found.reason,
            home=found.delete_home,
        )
        return pseudonym

    async def catch_up(self) -> int:
        """Put what came late under forgotten names under their pseudonyms; cut old links.

        Returns
        -------
        int
            How many names were found.
        """
        late: dict[str, str] = {}
        if await self._pseudonyms.expects_late():
            strangers = await self._records.unregistered_names()
            late = await self._pseudonyms.of_forgotten(strangers)
            if late:
                await self._alone()
            for username, pseudonym in sorted(late.items()):
                await self._records.forget(username, pseudonym, [])
        await self._pseudonyms.cut_links()
        return len(late)


def _other_names(person: Person) -> list[str]:
    """What written text calls a person and nothing else; a name of one word could mean anything."""
    names = [person.full_name] if len(person.full_name.split()) > 1 else []
    return [*names, *([person.email] if person.email else [])]
