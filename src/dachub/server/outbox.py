"""How far the hub's outbox is behind, where it lies on the same machine."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel


class OutboxStatus(BaseModel):
    """Events of the hub on their way to the ledger."""

    waiting: int
    oldest_at: datetime | None
    refused: int
    """Kept aside: the ledger will never take them."""


def outbox_status(file: Path) -> OutboxStatus | None:
    """Depth of the hub's outbox; ``None`` while there is none."""
    if not file.exists():
        return None
    try:
        with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=2) as outbox:
            waiting, oldest = outbox.execute(
                "select count(*), min(created_at) from outbox"
            ).fetchone()
            (refused,) = outbox.execute("select count(*) from dead_letter").fetchone()
    except sqlite3.Error:
        return None
    return OutboxStatus(
        waiting=waiting,
        oldest_at=None if oldest is None else datetime.fromisoformat(oldest),
        refused=refused,
    )
