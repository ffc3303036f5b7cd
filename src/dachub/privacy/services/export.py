"""Everything that is held about a person, as files for them to take along."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, PeopleService, PseudonymService
from dachub.infra.clock import Clock
from dachub.model.problems import PermissionDenied
from dachub.privacy.store.records import (
    PARTS_OF_THE_PLATFORM,
    Records,
    RecordStore,
    Row,
    all_records,
)

ANOTHER_PERSON = "another person"

_README = """\
What {site} holds about {username}, as of {moment:%Y-%m-%d %H:%M:%S} UTC.

Each file below is a table of the platform's database: a list of records in JSON (UTF-8), times in
UTC. Amounts are whole numbers: milli-core-seconds, byte-seconds, GPU-seconds, bytes.
Where a record names somebody else, it says "{another}" instead; texts are as they were written.
Not in these files:

- the hash of your password, where you have one here: it is a secret;
- your files: you have them in your home directory and in the folders of your groups;
- the hub's copy of your name, address and groups, and your tokens, which you see at /hub/token;
- logs, where your username stands beside what happened at what moment, until they are deleted.

{files}
"""


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Everything that is held about a person: a README and a file for each table."""

    username: str
    readme: str
    tables: Mapping[str, Sequence[Row]]

    def as_zip(self) -> bytes:
        """As an archive."""
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", self.readme)
            for name, rows in self.tables.items():
                text = json.dumps(rows, indent=1, ensure_ascii=False, default=_plain)
                archive.writestr(f"{name}.json", text)
        return written.getvalue()


class ExportService:
    """Collects what is held about a person."""

    def __init__(
        self,
        records: RecordStore,
        people: PeopleService,
        pseudonyms: PseudonymService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._records = records
        self._people = people
        self._pseudonyms = pseudonyms
        self._audit = audit
        self._clock = clock

    async def of(self, by: Principal, username: str, site: str) -> PersonalData:
        """Everything about a person, for themselves in person or an administrator.

        It includes what stands under their pseudonym already, and nobody else's data.

        Raises
        ------
        PermissionDenied, NotFound
        """
        by.require_self(username)
        if by.kind is PrincipalKind.SERVER:
            raise PermissionDenied("Download your data in the portal, signed in as yourself.")
        await self._people.person(username)
        pseudonym = await self._pseudonyms.known(username)
        own = [username] if pseudonym is None else [username, pseudonym]
        others = await self._people.usernames() - set(own)
        tables: dict[str, Sequence[Row]] = {}
        lines: list[str] = []
        for records in all_records():
            rows = [
                _alone(records, row, own, others) for row in await self._records.of(records, own)
            ]
            if rows:
                tables[records.table.name] = rows
                lines.append(f"{records.table.name}.json ({len(rows)}): {records.meaning}")
        await self._audit.record(by, "data-exported", username=username)
        readme = _README.format(
            site=site,
            username=username,
            moment=self._clock.now(),
            another=ANOTHER_PERSON,
            files="\n".join(lines),
        )
        return PersonalData(username, readme, tables)


def _alone(records: Records, row: Row, own: Collection[str], others: Collection[str]) -> Row:
    """A row without anybody else: their names, and what tells more of them."""
    personal = records.personal
    kept = dict(row)
    about = personal.person is None or row[personal.person] in own
    for name in personal.names:
        if row[name] is not None and row[name] not in (*own, *PARTS_OF_THE_PLATFORM):
            kept[name] = ANOTHER_PERSON
    for name in personal.documents:
        kept[name] = _masked(row[name], others)
    return (
        kept
        if about
        else {name: value for name, value in kept.items() if name not in personal.details}
    )


def _masked(document: Any, others: Collection[str]) -> Any:
    if isinstance(document, Mapping):
        return {key: _masked(value, others) for key, value in document.items()}
    if isinstance(document, list):
        return [_masked(value, others) for value in document]
    return ANOTHER_PERSON if isinstance(document, str) and document in others else document


def _plain(value: object) -> object:
    """What JSON does not know, as text; whole numbers stay numbers."""
    return int(value) if isinstance(value, Decimal) else str(value)
