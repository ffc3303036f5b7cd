"""Retention: after their term records keep a pseudonym instead of a name, or go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from dachub.directory.services import PeopleService, PseudonymService
from dachub.infra.clock import Clock
from dachub.model.names import UNKNOWN_PERSON, is_pseudonym, is_username, mention
from dachub.privacy.settings import PrivacySettings
from dachub.privacy.store.records import (
    PARTS_OF_THE_PLATFORM,
    Key,
    Records,
    RecordStore,
    Row,
    all_records,
    emptied,
    naming_pattern,
    without_name,
)

Spared = set[tuple[str, Key]]
"""Records, by their table and key."""

log = structlog.get_logger(__name__)


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

    async def run_batch(self, limit: int, spared: Spared) -> int:
        """Look at no more than ``limit`` records of each table; returns at how many.

        Parameters
        ----------
        spared
            Those with which it did not go in this run, which are not tried again; those with which
            it does not go now are added, and said in the log.
        """
        count = 0
        for records in all_records():
            term = records.personal.term
            before = None if term is None else self.term_began(term)
            if before is not None:
                count += await self._deal_with(records, before, limit, spared)
        return count

    async def _deal_with(
        self, records: Records, before: datetime, limit: int, spared: Spared
    ) -> int:
        table = records.table.name

        async def act(rows: Sequence[Row]) -> None:
            if records.personal.goes:
                await self._records.delete(records, rows)
                return
            given = await self._instead(records, rows)
            await self._records.change(
                records, [(row, _nameless(records, row, given)) for row in rows]
            )

        without = [key for name, key in spared if name == table]
        rows = await self._records.overdue(records, before, limit, without)
        for row, error in await self._records.in_parts(rows, act):
            spared.add((table, records.key_of(row)))
            log.error(
                "a record past its term keeps its name", table=table, error=str(error)[:300],
                key=str(records.key_of(row)),
            )  # fmt: skip
        return len(rows)

    async def _instead(
        self, records: Records, rows: Sequence[Row]
    ) -> Mapping[tuple[str, str], str]:
        """(column, name) -> what takes the place of the name there."""
        named = {
            (column, row[column])
            for row in rows
            for column in records.personal.names
            if row[column] is not None and not is_pseudonym(row[column])
        }
        registered = await self._people.usernames()
        theirs = {
            username
            for column, username in named
            if username in registered
            or (records.table.c[column].primary_key and is_username(username))
        }
        given = await self._pseudonyms.give_all(theirs)
        return {
            (column, username): given.get(username) or _no_persons(username)
            for column, username in named
        }


def _no_persons(username: str) -> str:
    """What takes the place of a name that nobody registered has."""
    if username.startswith("operator:"):
        return "operator"  # without the account on the machine
    return username if username in PARTS_OF_THE_PLATFORM else UNKNOWN_PERSON


def _nameless(records: Records, row: Row, given: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """A row's values so that it names nobody."""
    personal = records.personal
    values = {name: row[name] for name in (*personal.names, *personal.documents)}
    values |= emptied(records)
    for column in personal.names:
        username = row[column]
        if (column, username) not in given:
            continue
        values[column] = pseudonym = given[column, username]
        # Who only did it may be called like a word of the text.
        written = username if column == personal.person else mention(username)
        for name in personal.documents:
            values[name] = without_name(
                values[name], naming_pattern([written]), [username], pseudonym
            )
    return values
