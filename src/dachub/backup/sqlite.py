"""SQLite files of the hub: copied and put back by SQLite itself, never as files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dachub.model.problems import Unavailable

WAIT_SECONDS = 60

# A letter keeps its number where that is free: letters of a session are delivered in their order.
_MERGE = """
INSERT INTO main.outbox (seq, topic, key, body, created_at)
SELECT CASE WHEN seq IN (SELECT seq FROM main.outbox) THEN NULL ELSE seq END,
       topic, key, body, created_at
FROM kept.outbox AS old
WHERE NOT EXISTS (SELECT 1 FROM main.outbox AS new WHERE new.topic = old.topic
                  AND new.key = old.key)
ORDER BY seq
"""


def copy(source: Path, target: Path) -> None:
    """Make ``target`` what ``source`` is at one moment; a kill leaves it as it was before.

    Both may be in use, and ``target`` may be there.

    Raises
    ------
    Unavailable
        If one of them cannot be read or written.
    """
    with (
        _faults_told(source, target),
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as from_,
        closing(sqlite3.connect(target, timeout=WAIT_SECONDS)) as to,
    ):
        from_.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}")
        from_.backup(to)
        # What is handed on is one file, without a journal beside it.
        to.execute("PRAGMA journal_mode = DELETE")
    target.chmod(0o600)


def merge_outbox(source: Path, target: Path) -> int:
    """Put letters of the outbox ``source`` that ``target`` lacks into it; returns how many.

    The ledger knows letters by their keys, so that one that was delivered before counts once.

    Raises
    ------
    Unavailable
        If one of them cannot be read or written.
    """
    with (
        _faults_told(source, target),
        closing(sqlite3.connect(target, timeout=WAIT_SECONDS)) as outbox,
    ):
        outbox.execute("PRAGMA synchronous = FULL")
        outbox.execute("ATTACH ? AS kept", (str(source),))
        with outbox:
            return outbox.execute(_MERGE).rowcount


@contextmanager
def _faults_told(source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(
            f"{source} could not be copied to {target} ({error}). Is there room, and is it whole?"
        ) from error
