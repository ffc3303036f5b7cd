"""The clock, injected wherever a rule depends on the time, so that tests hold it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Now, in UTC, cut to the whole second (the ledger's grain)."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, which nobody can set; comparable in one process only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Now, in UTC, cut to the whole second."""
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        """Seconds since the machine started, those it slept through included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class HeldClock:
    """A clock that stands still until it is moved; for tests and simulations."""

    def __init__(self, now: datetime) -> None:
        self._now = now.astimezone(UTC).replace(microsecond=0)
        self._passed = timedelta()

    def now(self) -> datetime:
        """Tell the moment it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that have passed by :meth:`advance`."""
        return self._passed.total_seconds()

    def advance(self, step: timedelta) -> None:
        """Let time pass (back: as :meth:`jump`, which is what real clocks do)."""
        self._now += step
        self._passed += max(step, timedelta())

    def jump(self, step: timedelta) -> None:
        """Be set to another time, forward or back, while none passes."""
        self._now += step
