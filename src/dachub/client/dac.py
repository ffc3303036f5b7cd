"""``DAC``: the platform, from a notebook."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from dachub.client.connection import Connection
from dachub.client.errors import BadRequest, NotInASession

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from dachub.client.records import Balance, Group, Person, Session

When = str | date | datetime | None
AMOUNTS = ("milli_core_seconds", "memory_byte_seconds", "gpu_seconds")
DIMENSION_COLUMNS = {
    "day": "day", "month": "month", "user": "username", "group": "group", "kind": "kind",
    "size": "size", "environment": "environment", "institution": "institution",
}  # fmt: skip
DAY_DIMENSIONS = ("day", "month")
SESSION_COLUMNS = (
    "session_id", "username", "group", "kind", "size", "environment", "state", "requested_at",
    "started_at", "ended_at", "end_reason", "end_is_estimate", "core_seconds", "core_hours",
)  # fmt: skip
STORAGE_COLUMNS = (
    "area", "owner", "allocated_bytes", "limit_bytes", "files", "limit_files", "state",
    "sampled_at", "message",
)  # fmt: skip
SESSION_TIMES = ("requested_at", "started_at", "ended_at")


@cache
def _answer(of: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(of)


class DAC:
    """The platform: who you are, what you used, what is left.

    In a server of the platform nothing need be given. Elsewhere, give the platform's address and a
    token from its token page.

    Parameters
    ----------
    url
        Address of the platform or of its API; by default from ``DACHUB_API_URL``.
    token
        A JupyterHub token; by default from ``JUPYTERHUB_API_TOKEN``.

    Raises
    ------
    NotConfigured
        If an address or a token is missing.

    Examples
    --------
    >>> dac = DAC()
    >>> dac.me
    >>> dac.usage(since="2026-11-01", by=["day", "group"])
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._connection = Connection(url, token)

    def __repr__(self) -> str:
        return f"DAC({self._connection.url!r})"

    @property
    def me(self) -> Person:
        """You, as the platform knows you: name, affiliations, groups."""
        from dachub.client.records import Person

        person: Person = self._connection.get("/me", _answer(Person))
        return person

    @property
    def groups(self) -> list[Group]:
        """Your groups, with their PIs and members."""
        from dachub.client.records import Group

        groups: list[Group] = self._connection.get("/groups", _answer(list[Group]))
        return groups

    def usage(
        self,
        since: When = None,
        until: When = None,
        by: str | Iterable[str] = ("day",),
        group: str | None = None,
        user: str | None = None,
        kind: str | None = None,
    ) -> Any:
        """Tell the computing time used, running sessions included.

        Parameters
        ----------
        since, until
            Half-open period [since, until) in UTC: a day means its beginning. The service's default
            where not given.
        by
            What to tell apart: any of ``day``, ``month`` (by its first day), ``user``, ``group``,
            ``kind``, ``size``, ``environment``, ``institution``.
        group, user, kind
            Only that one. Others' usage is shown to a group's PIs and managers only.

        Returns
        -------
        pandas.DataFrame or Table
            One row for each combination: ``core_hours`` [core-hours], and the exact integers it is
            made of: ``milli_core_seconds``, ``memory_byte_seconds``, ``gpu_seconds``. The period
            and the total are in its ``attrs``.

        Raises
        ------
        BadRequest
            If an argument cannot be understood.
        RequestRefused
            If you may not see this.
        """
        from dachub.client.frames import table
        from dachub.model.usage import UsageReport

        dimensions = [by] if isinstance(by, str) else list(by)
        unknown = [each for each in dimensions if each not in DIMENSION_COLUMNS]
        if unknown:
            raise BadRequest(f"by may hold {', '.join(DIMENSION_COLUMNS)}; not {unknown[0]!r}.")
        report: UsageReport = self._connection.get(
            "/usage",
            _answer(UsageReport),
            {
                "since": _moment(since),
                "until": _moment(until),
                "by": dimensions,
                "group": group,
                "user": user,
                "kind": kind,
            },
        )
        return table(
            [row.model_dump() | {"core_hours": row.core_hours} for row in report.rows],
            [*(DIMENSION_COLUMNS[each] for each in dimensions), "core_hours", *AMOUNTS],
            times=[each for each in DAY_DIMENSIONS if each in dimensions],
            attrs={
                "since": report.since,
                "until": report.until,
                "counted_to": report.counted_to,
                "total_core_hours": report.total.core_hours,
            },
        )

    def sessions(
        self,
        group: str | None = None,
        state: str | None = None,
        since: When = None,
        until: When = None,
        user: str | None = None,
        limit: int | None = None,
    ) -> Any:
        """List sessions in the ledger, newest first.

        Parameters
        ----------
        group, user
            Only that one's. Others' sessions are shown to a group's PIs and managers only.
        state
            ``requested``, ``running`` or ``ended``.
        since, until
            Half-open period [since, until) in UTC.
        limit
            At most so many; the service's default where not given.

        Returns
        -------
        pandas.DataFrame or Table
        """
        from dachub.client.frames import table
        from dachub.client.records import Session

        found: list[Session] = self._connection.get(
            "/sessions",
            _answer(list[Session]),
            {
                "group": group,
                "state": state,
                "since": _moment(since),
                "until": _moment(until),
                "user": user,
                "limit": limit,
            },
        )
        return table(
            [each.model_dump(mode="python") | {"core_hours": each.core_hours} for each in found],
            SESSION_COLUMNS,
            times=SESSION_TIMES,
        )

    def storage(self) -> Any:
        """Tell what your home and the folders of your groups hold, and may hold.

        Returns
        -------
        pandas.DataFrame or Table
            One row for each place: ``allocated_bytes`` on disk and ``files``, as of ``sampled_at``,
            beside their limits (missing: no limit). The largest folders of each place are in its
            ``attrs``, by ``area/owner``.
        """
        from dachub.client.frames import table
        from dachub.model.storage import StorageUse

        uses: list[StorageUse] = self._connection.get("/storage", _answer(list[StorageUse]))
        unmeasured = {"allocated_bytes": None, "files": None, "sampled_at": None}
        return table(
            [
                use.model_dump(mode="json")
                | (unmeasured if use.sample is None else use.sample.model_dump(mode="json"))
                for use in uses
            ],
            STORAGE_COLUMNS,
            times=["sampled_at"],
            attrs={
                "largest": {
                    f"{use.area.value}/{use.owner}": [each.model_dump() for each in use.largest]
                    for use in uses
                }
            },
        )

    @property
    def session(self) -> Session:
        """The session that this program runs in.

        Raises
        ------
        NotInASession
            If it does not run in a server of the platform.
        """
        from dachub.client.records import Session

        session_id = self._of_this_server("DACHUB_SESSION")
        session: Session = self._connection.get(f"/sessions/{session_id}", _answer(Session))
        return session

    @property
    def balances(self) -> list[Balance]:
        """What each of your groups has used and has left."""
        from dachub.client.records import Balance
        from dachub.model.usage import StartOptions

        options: StartOptions = self._connection.get("/me/start-options", _answer(StartOptions))
        return [Balance.model_validate(each.model_dump()) for each in options.groups]

    @property
    def balance(self) -> Balance:
        """What the group that pays for this server has used and has left.

        Raises
        ------
        NotInASession
            If this does not run in a server of the platform: use ``balances``.
        """
        group = self._of_this_server("DACHUB_GROUP")
        found = [each for each in self.balances if each.group == group]
        if not found:
            raise NotInASession(f"You are no longer a member of the group '{group}'; ask its PI.")
        return found[0]

    def _of_this_server(self, variable: str) -> str:
        value = os.environ.get(variable)
        if not value:
            raise NotInASession(
                "This program does not run in a server of the platform, so it has no session. "
                "Use DAC().sessions() or DAC().balances."
            )
        return value


def _moment(when: When) -> str | None:
    """``when`` as RFC 3339 in UTC; a time without a zone is taken as UTC."""
    if when is None:
        return None
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            raise BadRequest(f"{when!r} is no date; write it like 2026-11-23.") from None
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
