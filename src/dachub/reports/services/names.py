"""Who is who, and which group belongs where, for Open XDMoD."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dachub.directory.models import Principal
from dachub.directory.services import GroupService, PeopleService
from dachub.model.people import UNKNOWN_INSTITUTION, Person
from dachub.reports.formats.tables import csv_text, name_row, printable
from dachub.reports.models import Draft, Piece
from dachub.reports.settings import ReportSettings


class XdmodNames:
    """Makes the tables of names and of the hierarchy, as of now."""

    def __init__(
        self, people: PeopleService, groups: GroupService, settings: ReportSettings
    ) -> None:
        self._people = people
        self._groups = groups
        self._settings = settings

    async def names(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """People by first and last name; groups, the PIs of jobs, by their title.

        Where a person and a group have the same name, Open XDMoD knows the person's only.

        Raises
        ------
        PermissionDenied, InvalidRecord
        """
        people = [name_row(person) for person in await self._everybody(by)]
        taken = {row[0] for row in people}
        groups = [
            (group.slug, "", printable(group.title) or group.slug)
            for group in await self._groups.list(by)
            if group.slug not in taken
        ]
        draft.records = len(people) + len(groups)
        yield Piece(name, csv_text([*people, *groups], 3))

    async def _everybody(self, by: Principal) -> list[Person]:
        found: list[Person] = []
        while page := await self._people.list(by, after=found[-1].username if found else None):
            found += page
        return found

    async def hierarchy(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """Three levels: the site, the institution of a group's first PI, the group.

        Raises
        ------
        PermissionDenied, InvalidRecord
        """
        by.require_administrator()
        institutions = await self._people.institutions()
        groups = await self._groups.list(by)
        home = {
            group.slug: institutions.get(group.pis[0], UNKNOWN_INSTITUTION)
            if group.pis
            else UNKNOWN_INSTITUTION
            for group in groups
        }
        site = self._settings.xdmod_resource
        rows = [(f"site:{site}", site, "")]
        rows += [
            (f"institution:{printable(place)}", printable(place), f"site:{site}")
            for place in sorted(set(home.values()))
        ]
        rows += [
            (
                f"group:{group.slug}",
                printable(group.title) or group.slug,
                f"institution:{printable(home[group.slug])}",
            )
            for group in groups
        ]
        draft.records = len(rows) + len(groups)
        yield Piece(name, csv_text(rows, 3))
        members = [(group.slug, f"group:{group.slug}") for group in groups]
        yield Piece(f"group-to-{name}", csv_text(members, 2))
