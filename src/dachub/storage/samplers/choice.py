"""Which way a place is measured: as its file system knows itself, else by a walk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dachub.storage.models import Allowed, SamplingJob
from dachub.storage.samplers import Sampler
from dachub.storage.samplers.walker import Walk


class Samplers:
    """The samplers of one job; chosen for each place by its file system, or by the setting."""

    def __init__(self, job: SamplingJob, advanced: Callable[[int], None]) -> None:
        self._walk = Walk(
            job.state,
            processes=job.processes,
            files_per_second=job.files_per_second,
            turn_seconds=job.turn_seconds,
            advanced=advanced,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._walk.close()

    def of(self, place: Path) -> Sampler:
        """The sampler for a place."""
        return self._walk

    def enforce(self, place: Path, allowed: Allowed) -> bool:
        """Let the file system hold a place to its limits; ``False`` where it cannot."""
        return False
