"""Usage in any period, for those who may see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from dachub.accounting.models import InvalidPeriod, Rate, Span
from dachub.accounting.store.spans import SpanStore
from dachub.accounting.store.usage import UsageStore
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import PeopleService
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, PermissionDenied
from dachub.model.units import whole_second
from dachub.model.usage import Usage, UsageDimension, UsageReport

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
LAST = datetime(2200, 1, 1, tzinfo=UTC)


def period(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """A half-open period, checked: in UTC and whole seconds.

    Raises
    ------
    InvalidPeriod
        Without time zones, empty, or not within the years 2000 to 2199.
    """
    try:
        since, until = whole_second(since), whole_second(until)
    except ValueError as error:
        raise InvalidPeriod(f"The period cannot be understood: {error}.") from error
    if not FIRST <= since < until <= LAST:
        raise InvalidPeriod(
            "The period must end after it begins and lie between the years 2000 and 2200; "
            f"asked for was {since.isoformat()} to {until.isoformat()}."
        )
    return since, until


def require_may_see(by: Principal, *, username: str | None, group: str | None) -> str | None:
    """Whose records ``by`` may see when asking for ``username`` and ``group``; ``None`` for all.

    A person sees their own; a group's manager or PI all of the group; an administrator everything.
    Who asks for nobody in particular, and may not see all, gets their own.

    Raises
    ------
    PermissionDenied
    """
    if by.kind is PrincipalKind.HUB:
        raise PermissionDenied("The hub has no business with usage.")
    if by.is_administrator or (group is not None and by.has(group, Role.MANAGER)):
        return username
    if username is None and group is not None and group not in by.roles:
        raise PermissionDenied("You are not a member of this group.")
    if username is not None and username != by.name:
        raise PermissionDenied(
            "Only managers and PIs of a group, and administrators, see what others used."
        )
    return by.name


class UsageService:
    """Reports usage to the second."""

    def __init__(
        self, store: UsageStore, spans: SpanStore, people: PeopleService, clock: Clock
    ) -> None:
        self._store = store
        self._spans = spans
        self._people = people
        self._clock = clock

    async def report(
        self,
        by: Principal,
        *,
        since: datetime,
        until: datetime,
        dimensions: Sequence[UsageDimension] = (),
        username: str | None = None,
        group: str | None = None,
        kind: str | None = None,
    ) -> UsageReport:
        """Usage in [since, until), running sessions counted up to now.

        Parameters
        ----------
        dimensions
            What to sum by; nothing for one total. Its order is the order of the rows. Every
            person counts under one institution, that of now.

        Raises
        ------
        PermissionDenied
            See :func:`require_may_see`.
        InvalidPeriod
        """
        username = require_may_see(by, username=username, group=group)
        since, until = period(since, until)
        if any("\0" in text for text in (username, group, kind) if text is not None):
            raise InvalidInput("A name cannot contain the character NUL.")
        now = self._clock.now()
        dimensions = list(dict.fromkeys(dimensions))
        by_institution = "institution" in dimensions
        rows = await self._store.rows(
            since=since,
            until=until,
            now=now,
            dimensions=dimensions,
            username=username,
            group=group,
            kind=kind,
            institutions=await self._people.institutions() if by_institution else None,
        )
        used = [
            row
            for row in rows
            if row.milli_core_seconds or row.memory_byte_seconds or row.gpu_seconds
        ]
        return UsageReport(
            since=since,
            until=until,
            counted_to=min(now, until),
            by=dimensions,
            rows=used if dimensions else rows,
            total=Usage(
                milli_core_seconds=sum(row.milli_core_seconds for row in rows),
                memory_byte_seconds=sum(row.memory_byte_seconds for row in rows),
                gpu_seconds=sum(row.gpu_seconds for row in rows),
            ),
        )

    async def of_spans(self, spans: Sequence[Span], now: datetime) -> Sequence[Usage]:
        """Usage in each span, open sessions counted to ``now``; asks nobody's rights."""
        return await self._spans.used(spans, now)

    async def rates(self, groups: Collection[str] | None) -> Sequence[Rate]:
        """What people run at the moment on groups (all: ``None``); asks nobody's rights."""
        return await self._spans.rates(groups)
