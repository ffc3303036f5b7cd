"""The clock, injected wherever a rule depends on the time, so that tests hold it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Now, in UTC, cut to the whole second (the ledger's grain)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Now, in UTC, cut to the whole second."""
        return datetime.now(UTC).replace(microsecond=0)


class HeldClock:
    """A clock that stands still until it is moved; for tests and simulations."""

    def __init__(self, now: datetime) -> None:
        self._now = now.astimezone(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        """Tell the moment it was set to."""
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move on (or back, as real clocks do)."""
        self._now += step
