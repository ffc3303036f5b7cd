"""What those who watch the service want to know of quotas, cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.queue import CoresReport
from dachub.quota.services.queue import QueueService
from dachub.quota.store.requests import RequestStore
from dachub.quota.store.standings import StandingStore


@dataclass(frozen=True, slots=True)
class QuotaFigures:
    """Quotas at a moment.

    Attributes
    ----------
    standings
        (resource, state) -> how many groups stand so with their quota.
    longest_wait_seconds
        Since when the first of the queue has waited for cores.
    """

    standings: Mapping[tuple[str, ...], int]
    open_requests: int
    cores: CoresReport
    longest_wait_seconds: float


class QuotaFigureService:
    """Reads the figures."""

    def __init__(
        self, standings: StandingStore, requests: RequestStore, queue: QueueService, clock: Clock
    ) -> None:
        self._standings = standings
        self._requests = requests
        self._queue = queue
        self._clock = clock

    async def read(self, by: Principal) -> QuotaFigures:
        """The figures of now.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        cores, now = await self._queue.report(by), self._clock.now()
        return QuotaFigures(
            standings=await self._standings.of_groups(),
            open_requests=await self._requests.count_open(),
            cores=cores,
            longest_wait_seconds=max(
                (max(0.0, (now - start.asked_at).total_seconds()) for start in cores.queue),
                default=0.0,
            ),
        )
