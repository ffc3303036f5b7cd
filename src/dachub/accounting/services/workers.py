"""When background workers last succeeded, for the status page and the doctor."""

from __future__ import annotations

from dachub.accounting.models import WorkerRun
from dachub.accounting.store.workers import WorkerStore
from dachub.infra.clock import Clock

BACKUP = "backup"
"""Under this name whoever made a backup records it, as workers record their work."""


class WorkerService:
    """Keeps the last success of every worker."""

    def __init__(self, store: WorkerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def record(self, name: str, outcome: str = "", *, is_clean: bool = True) -> None:
        """Note that a worker has just succeeded, and whether all was as it should be."""
        await self._store.record(name, self._clock.now(), outcome, is_clean=is_clean)

    async def last(self, name: str) -> WorkerRun | None:
        """The last success of a worker; ``None`` if it never ran."""
        return await self._store.last(name)

    async def all(self) -> list[WorkerRun]:
        """The last success of every worker, by name."""
        return await self._store.all()
