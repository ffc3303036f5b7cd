"""What those who watch the service want to know of quotas, cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dachub.directory.models import Principal
from dachub.quota.store.requests import RequestStore
from dachub.quota.store.standings import StandingStore


@dataclass(frozen=True, slots=True)
class QuotaFigures:
    """Quotas at a moment.

    Attributes
    ----------
    standings
        (resource, state) -> how many groups stand so with their quota.
    """

    standings: Mapping[tuple[str, ...], int]
    open_requests: int


class QuotaFigureService:
    """Reads the figures."""

    def __init__(self, standings: StandingStore, requests: RequestStore) -> None:
        self._standings = standings
        self._requests = requests

    async def read(self, by: Principal) -> QuotaFigures:
        """The figures of now.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        return QuotaFigures(
            standings=await self._standings.of_groups(),
            open_requests=await self._requests.count_open(),
        )
