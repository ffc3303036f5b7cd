"""Records of people in any table, by what the tables state of themselves.

Nothing here knows a table by its name: :class:`~dachub.infra.personal.Personal` says what is whose.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    Table,
    Text,
    Tuple,
    and_,
    bindparam,
    cast,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.tables import PersonRow
from dachub.infra.database import Base
from dachub.infra.parts import in_parts
from dachub.infra.personal import Personal
from dachub.model.names import PSEUDONYM_PREFIX, mention

Row = Mapping[str, Any]
Key = tuple[Any, ...]
_IN_WORDS = "a-zA-Z0-9\u00c0-\u024f-"
PARTS_OF_THE_PLATFORM = ("hub", "operator")
"""Stand where else a person's name does, and are kept."""


@dataclass(frozen=True, slots=True)
class Records:
    """A table and what it states of people."""

    table: Table
    personal: Personal
    meaning: str

    @property
    def key(self) -> Tuple:
        """What tells rows apart."""
        return tuple_(*self.table.primary_key.columns)

    def key_of(self, row: Row) -> Key:
        """The key of a row."""
        return tuple(row[column.name] for column in self.table.primary_key.columns)

    def about(self, usernames: Collection[str]) -> ColumnElement[bool]:
        """Rows about any of these people."""
        columns, personal = self.table.c, self.personal
        if personal.through is not None:
            column, table = personal.through
            owner = next(records for records in all_records() if records.table.name == table)
            theirs = select(owner.table.c[column]).where(owner.about(usernames))
            return columns[column].in_(theirs)
        if personal.person is None:
            return false()
        whose: ColumnElement[bool] = columns[personal.person].in_(usernames)
        if personal.only_where is not None:
            column, value = personal.only_where
            whose = and_(whose, columns[column] == value)
        return whose

    def naming(self, usernames: Collection[str]) -> ColumnElement[bool]:
        """Rows about these people, and those they wrote or decided."""
        others = (self.table.c[name].in_(usernames) for name in self.personal.others)
        return or_(self.about(usernames), *others)


def all_records() -> list[Records]:
    """Every table, those that others refer to first."""
    stated = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    return [
        Records(table, stated[table].personal, _meaning(stated[table]))
        for table in Base.metadata.sorted_tables
    ]


def _meaning(row_class: type) -> str:
    return " ".join((row_class.__doc__ or "").split("\n\n", 1)[0].split())


class RecordStore:
    """Reads, renames and deletes what is recorded of people."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, records: Records, usernames: Collection[str]) -> list[Row]:
        """Rows of a table that name one of these (a person and their pseudonym), as they are."""
        columns = [
            column for column in records.table.c if column.name not in records.personal.secrets
        ]
        rows = await self._session.execute(
            select(*columns)
            .where(records.naming(usernames))
            .order_by(*records.table.primary_key.columns)
        )
        return [dict(row) for row in rows.mappings()]

    async def sent(self, usernames: Collection[str]) -> dict[str, int]:
        """Format -> how many records about these people were sent to others in it."""
        found: dict[str, int] = {}
        for records in all_records():
            if records.personal.sent_as is None:
                continue
            sent_as = records.table.c[records.personal.sent_as]
            rows = await self._session.execute(
                select(sent_as, func.count()).where(records.about(usernames)).group_by(sent_as)
            )
            found |= dict(rows.all())
        return found

    async def forget(self, username: str, pseudonym: str, other_names: Collection[str]) -> None:
        """Put the pseudonym in the place of a name, everywhere; what goes with the name goes.

        In written text a username may be a word like any other ("rose", "will"): it is the person
        in what is about them, elsewhere only behind an ``@``, as we write it ourselves.

        Parameters
        ----------
        other_names
            What else the person is called in writing, and nothing else is.
        """
        anywhere = naming_pattern([mention(username), *other_names])
        about_them = naming_pattern([username, *other_names])
        for records in reversed(all_records()):
            theirs = records.about([username])
            for which, written in ((theirs, about_them), (theirs.is_not(true()), anywhere)):
                await self._clear_texts(records, which, written, pseudonym)
                await self._clear_documents(records, which, username, written, pseudonym)
            if records.personal.goes:
                await self._session.execute(delete(records.table).where(records.about([username])))
            else:
                await self._rename_person(records, username, pseudonym)
            for name in records.personal.others:
                column = records.table.c[name]
                await self._session.execute(
                    update(records.table).where(column == username).values({name: pseudonym})
                )

    async def _rename_person(self, records: Records, username: str, pseudonym: str) -> None:
        table, personal = records.table, records.personal
        if personal.person is None:
            return
        if table.c[personal.person].primary_key:
            await self._merge(records, username, pseudonym)
            return
        await self._session.execute(
            update(table)
            .where(records.about([username]))
            .values({personal.person: pseudonym, **emptied(records)})
        )

    async def _merge(self, records: Records, username: str, pseudonym: str) -> None:
        """Rename rows that are kept by person; one that the pseudonym has already grows."""
        table, personal = records.table, records.personal
        moved = delete(table).where(records.about([username])).returning(*table.c).cte("moved")
        names = [column.name for column in table.c]
        new = insert(table).from_select(
            names,
            select(
                *(
                    literal(pseudonym) if name == personal.person else moved.c[name]
                    for name in names
                )
            ),
        )
        sums = {name: table.c[name] + new.excluded[name] for name in personal.sums}
        key = [column.name for column in table.primary_key.columns]
        await self._session.execute(
            new.on_conflict_do_update(index_elements=key, set_=sums)
            if sums
            else new.on_conflict_do_nothing(index_elements=key)
        )

    async def _clear_texts(
        self, records: Records, which: ColumnElement[bool], written: str, pseudonym: str
    ) -> None:
        for name in records.personal.texts:
            column = records.table.c[name]
            await self._session.execute(
                update(records.table)
                .where(which, column.regexp_match(written, "i"))
                .values({name: func.regexp_replace(column, written, pseudonym, "gi")})
            )

    async def _clear_documents(
        self,
        records: Records,
        which: ColumnElement[bool],
        username: str,
        written: str,
        pseudonym: str,
    ) -> None:
        keys = list(records.table.primary_key.columns)
        for name in records.personal.documents:
            column = records.table.c[name]
            naming = records.naming([username])
            rows = await self._session.execute(
                select(*keys, column, naming).where(
                    which,
                    or_(
                        cast(column, Text).regexp_match(written, "i"),
                        and_(naming, cast(column, Text).contains(username)),
                    ),
                )
            )
            for *key, document, names_them in rows.all():
                words = [username] if names_them else []
                await self._session.execute(
                    update(records.table)
                    .where(*(part == value for part, value in zip(keys, key, strict=True)))
                    .values({name: without_name(document, written, words, pseudonym)})
                )

    async def overdue(
        self, records: Records, before: datetime, limit: int, without: Collection[Key]
    ) -> list[Row]:
        """Rows whose term ended before a moment; what stays only while it names somebody.

        They are locked against changes; what somebody else works on is left to the next time.
        """
        query = select(*records.table.c).where(_since(records) < before, _only_where(records))
        if not records.personal.goes:
            named = (is_persons_name(records.table.c[name]) for name in records.personal.names)
            query = query.where(or_(*named))
        if without:
            query = query.where(records.key.not_in(without))
        rows = await self._session.execute(query.limit(limit).with_for_update(skip_locked=True))
        return [dict(row) for row in rows.mappings()]

    async def in_parts(
        self, rows: Sequence[Row], act: Callable[[Sequence[Row]], Awaitable[None]]
    ) -> list[tuple[Row, Exception]]:
        """Act on rows; gives those with which it does not go, and why."""
        return await in_parts(self._session, rows, act)

    async def change(
        self, records: Records, changes: Sequence[tuple[Row, Mapping[str, Any]]]
    ) -> None:
        """Change rows, the same columns of each."""
        keys = list(records.table.primary_key.columns)
        await self._session.execute(
            update(records.table)
            .where(*(key == bindparam(f"old_{key.name}", type_=key.type) for key in keys))
            .values({name: bindparam(f"new_{name}") for name in changes[0][1]}),
            [
                {f"old_{key.name}": row[key.name] for key in keys}
                | {f"new_{name}": value for name, value in values.items()}
                for row, values in changes
            ],
        )

    async def delete(self, records: Records, rows: Sequence[Row]) -> None:
        """Delete rows."""
        keys = [records.key_of(row) for row in rows]
        await self._session.execute(delete(records.table).where(records.key.in_(keys)))

    async def unregistered_names(self) -> set[str]:
        """Names in any table that are neither of people nor pseudonyms."""
        found: set[str] = set()
        people = select(PersonRow.username)
        for records in all_records():
            for name in records.personal.names:
                column = records.table.c[name]
                names = select(column).where(is_persons_name(column), column.not_in(people))
                if name == records.personal.person:
                    names = names.where(_only_where(records))
                found |= set(await self._session.scalars(names.distinct()))
        return found


def emptied(records: Records) -> dict[str, object]:
    """Values that say nothing, for what tells more of a person."""
    values: dict[str, object] = {}
    for name in records.personal.details:
        column = records.table.c[name]
        empty = "" if isinstance(column.type, String) else []
        values[name] = None if column.nullable else empty
    return values


def is_persons_name(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a column names a person rather than a part of the platform or a pseudonym."""
    return and_(column.not_in(PARTS_OF_THE_PLATFORM), column.not_like(f"{PSEUDONYM_PREFIX}%"))


def naming_pattern(mentions: Collection[str]) -> str:
    """Regular expression, in PostgreSQL as in Python, for whole words that mention somebody."""
    words = "|".join(re.escape(word) for word in sorted(mentions, key=len, reverse=True) if word)
    return rf"(?<![{_IN_WORDS}])(?:{words})(?![{_IN_WORDS}])"


def without_name(document: Any, written: str, words: Collection[str], pseudonym: str) -> Any:
    """JSON in which the pseudonym takes the place of a person.

    Parameters
    ----------
    written
        Pattern of how sentences mention the person.
    words
        What is replaced where it stands alone: who is called *local* must not change whatever else
        is local.
    """
    if isinstance(document, dict):
        return {
            key: without_name(value, written, words, pseudonym) for key, value in document.items()
        }
    if isinstance(document, list):
        return [without_name(value, written, words, pseudonym) for value in document]
    if not isinstance(document, str):
        return document
    if " " not in document:
        return pseudonym if document in words else document
    return re.sub(written, pseudonym, document, flags=re.IGNORECASE)


def _since(records: Records) -> ColumnElement[Any]:
    since: ColumnElement[Any] = records.table.c[str(records.personal.since)]
    return since


def _only_where(records: Records) -> ColumnElement[bool]:
    if records.personal.only_where is None:
        return true()
    column, value = records.personal.only_where
    return records.table.c[column] == value
