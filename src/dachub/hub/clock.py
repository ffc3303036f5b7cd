"""The hub's clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Now, in UTC, cut to the whole second."""
    return datetime.now(UTC).replace(microsecond=0)
