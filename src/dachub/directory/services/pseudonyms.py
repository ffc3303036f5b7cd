"""Pseudonyms: what stands for a person whose name is no longer kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from dachub.directory.store.people import PersonStore
from dachub.directory.store.pseudonyms import PseudonymStore
from dachub.infra.clock import Clock
from dachub.model.names import new_pseudonym
from dachub.model.people import UNKNOWN_INSTITUTION

LINKED_FOR = timedelta(days=30)
"""As long as the hub keeps what it knows of ended sessions, something may arrive late."""


class PseudonymService:
    """Gives pseudonyms, keeps forgotten names from being given out, and knows whose is late."""

    def __init__(self, store: PseudonymStore, people: PersonStore, clock: Clock) -> None:
        self._store = store
        self._people = people
        self._clock = clock

    async def known(self, username: str) -> str | None:
        """The pseudonym of somebody part of whose records is past its term already."""
        return (await self._store.of([username])).get(username)

    async def give(self, username: str) -> str:
        """The pseudonym of a name: always the same, until the name is forgotten.

        It is counted under the institution that the person belongs to now.
        """
        return (await self.give_all([username]))[username]

    async def give_all(self, usernames: Collection[str]) -> dict[str, str]:
        """Name -> its pseudonym, in as many questions for thousands as for one."""
        known = await self._store.of(usernames)
        missing = sorted(set(usernames) - set(known))
        if not missing:
            return known
        given = await self._store.give({username: new_pseudonym() for username in missing})
        now = self._clock.now()
        added = await self._store.register(sorted(given.values()), now)
        people = await self._people.people(now=now, usernames=missing)
        await self._store.affiliate(
            {
                given[person.username]: person.institution
                for person in people
                if person.institution != UNKNOWN_INSTITUTION and given[person.username] in added
            },
            now,
        )
        return known | given

    async def bury(self, username: str, pseudonym: str) -> None:
        """Keep a name from ever being given out again."""
        await self._store.bury(username, pseudonym, self._clock.now())

    async def of_forgotten(self, usernames: Collection[str]) -> dict[str, str]:
        """Those of the names that were forgotten -> what takes their place.

        Once the link to the pseudonym is cut, it is one that nothing else stands under.
        """
        links = await self._store.links(usernames)
        return {
            username: pseudonym or await self._nameless() for username, pseudonym in links.items()
        }

    async def _nameless(self) -> str:
        pseudonym = new_pseudonym()
        await self._store.register([pseudonym], self._clock.now())
        return pseudonym

    async def expects_late(self) -> bool:
        """Whether something may still arrive for a forgotten name."""
        return await self._store.has_links()

    async def cut_links(self) -> int:
        """Cut the links between names and pseudonyms that are no longer needed."""
        return await self._store.cut_links(self._clock.now() - LINKED_FOR)
