"""Retention: after their term records keep a pseudonym instead of a name, or go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from dachub.directory.services import PeopleService, PseudonymService
from dachub.infra.clock import Clock
from dachub.model.names import UNKNOWN_PERSON, is_username, mention
from dachub.privacy.settings import PrivacySettings
from dachub.privacy.store.records import (
    PARTS_OF_THE_PLATFORM,
    Records,
    RecordStore,
    Row,
    all_records,
    emptied,
    naming_pattern,
    without_name,
)


class RetentionService:
    """Looks through the tables, a batch at a time; each batch is whole whatever happens after."""

    def __init__(
        self,
        records: RecordStore,
        people: PeopleService,
        pseudonyms: PseudonymService,
        settings: PrivacySettings,
        clock: Clock,
    ) -> None:
        self._records = records
        self._people = people
        self._pseudonyms = pseudonyms
        self._settings = settings
        self._clock = clock

    def term_began(self, term: str) -> datetime | None:
        """Before which moment records are past a term; ``None`` where they are kept for ever."""
        days: int | None = getattr(self._settings, f"{term}_days")
        return None if days is None else self._clock.now() - timedelta(days=days)

    async def run_batch(self, limit: int) -> int:
        """Deal with at most ``limit`` records of each table; returns with how many."""
        done = 0
        for records in all_records():
            personal = records.personal
            if personal.term is None or personal.since is None:
                continue
            before = self.term_began(personal.term)
            if before is None:
                continue
            if personal.goes:
                done += await self._records.delete_overdue(records, before, limit)
                continue
            for row in await self._records.overdue(records, before, limit):
                await self._records.change(records, row, await self._nameless(records, row))
                done += 1
        return done

    async def _nameless(self, records: Records, row: Row) -> Mapping[str, Any]:
        """What changes in a row so that it names nobody."""
        personal, values = records.personal, emptied(records)
        for column in personal.names:
            username = row[column]
            if username is None:
                continue
            pseudonym = await self._pseudonym(records, column, username)
            values[column] = pseudonym
            # Who only did it may be called like a word of the text.
            written = username if column == personal.person else mention(username)
            for name in personal.documents:
                values[name] = without_name(
                    values.get(name, row[name]), naming_pattern([written]), [username], pseudonym
                )
        return values

    async def _pseudonym(self, records: Records, column: str, username: str) -> str:
        if username.startswith("operator:"):
            return "operator"  # without the account on the machine
        if username in PARTS_OF_THE_PLATFORM:
            return username
        part_of_key = records.table.c[column].primary_key
        if is_username(username) and (part_of_key or await self._people.is_registered(username)):
            return await self._pseudonyms.give(username)
        return UNKNOWN_PERSON
