"""Work on one after the other, in which one that goes wrong holds up no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


class Attempts:
    """Keeps what went wrong until all had their turn; then it fails the run, so that it is seen."""

    def __init__(self) -> None:
        self._failed: list[Exception] = []

    @contextmanager
    def at(self, whom: str) -> Iterator[None]:
        """Do the work for one; an error in it is kept, and the next is begun."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, it is kept
            log.warning(
                "one was held up", whom=whom, error=f"{type(error).__name__}: {error}"[:300]
            )
            self._failed.append(error)

    def conclude(self) -> None:
        """Raise the first error there was."""
        if self._failed:
            raise self._failed[0]
