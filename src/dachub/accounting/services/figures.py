"""What those who watch the service want to know of the ledger, cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from dachub.accounting.models import WorkerRun
from dachub.accounting.services.usage import UsageService
from dachub.accounting.store.sessions import SessionStore
from dachub.accounting.store.workers import WorkerStore
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.units import day_start
from dachub.model.usage import UsageRow


@dataclass(frozen=True, slots=True)
class Figures:
    """The ledger at a moment.

    Attributes
    ----------
    sessions
        (state, size) -> how many sessions start or run.
    today
        Usage since midnight (UTC), a row for each group that used anything.
    runs
        When each background worker last did its work and what it found, by name.
    """

    sessions: Mapping[tuple[str, ...], int]
    today: tuple[UsageRow, ...]
    runs: Mapping[str, WorkerRun]


class FigureService:
    """Reads the figures."""

    def __init__(
        self, sessions: SessionStore, usage: UsageService, workers: WorkerStore, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._usage = usage
        self._workers = workers
        self._clock = clock

    async def read(self, by: Principal) -> Figures:
        """The figures of now.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        midnight = day_start(self._clock.now())
        today = await self._usage.report(
            by, since=midnight, until=midnight + timedelta(days=1), dimensions=["group"]
        )
        return Figures(
            sessions=await self._sessions.count_open(),
            today=tuple(today.rows),
            runs={run.name: run for run in await self._workers.all()},
        )
