"""The hub's SQLite file: one thread, each write a transaction on disk when it returns.

WAL and ``synchronous=FULL``: what was acknowledged survives a loss of power.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dachub.model.problems import Unavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Write = Callable[[sqlite3.Connection], object]

HELD_WRITES_MAX = 100_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key TEXT NOT NULL,
    body TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_key ON outbox (topic, key);
CREATE INDEX IF NOT EXISTS outbox_seq ON outbox (topic, seq);
CREATE TABLE IF NOT EXISTS dead_letter (
    seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
    code TEXT NOT NULL, detail TEXT NOT NULL, refused_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS session (
    session_id TEXT PRIMARY KEY, body TEXT NOT NULL, requested_at TEXT NOT NULL, started_at TEXT,
    last_seen_at TEXT, ended_at TEXT);
CREATE INDEX IF NOT EXISTS session_open ON session (session_id) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS identity (
    issuer TEXT NOT NULL, subject TEXT NOT NULL, username TEXT NOT NULL UNIQUE,
    PRIMARY KEY (issuer, subject));
CREATE TABLE IF NOT EXISTS person (
    username TEXT PRIMARY KEY, body TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS document (
    name TEXT PRIMARY KEY, etag TEXT NOT NULL, body TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """How far the deliveries are behind."""

    depth: int
    oldest_at: datetime | None
    refused: int
    held_in_memory: int = 0


class Storage:
    """The file. Every method may be called from the event loop; none blocks it.

    A write that the disk refuses (full, failing) is kept in memory in its order and tried again
    with the next write or :meth:`flush`; what the hub does for people goes on meanwhile.

    Parameters
    ----------
    path
        Created with mode 0600. Not on a network file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._opened: sqlite3.Connection | None = None
        self._held: deque[Write] = deque()

    async def close(self) -> None:
        """Write what is held and close the file."""
        await self.flush()
        await self._call(self._close)
        self._thread.shutdown(wait=False)

    async def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of a query.

        Raises
        ------
        Unavailable
            If the file cannot be read.
        """
        try:
            return await self._call(lambda: self._connection().execute(sql, arguments).fetchall())
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"The hub's own memory cannot be read: {error}") from error

    async def write(self, write: Write) -> None:
        """Do a write in a transaction of its own; on disk when this returns, or held."""
        await self._call(lambda: self._hold(write))

    async def flush(self) -> bool:
        """Try the writes the disk refused; whether none is left."""
        return await self._call(self._write_held)

    async def status(self) -> OutboxStatus:
        """How far the deliveries are behind."""
        ((depth, oldest, refused),) = await self.query(
            "SELECT count(*), min(created_at), (SELECT count(*) FROM dead_letter) FROM outbox"
        )
        return OutboxStatus(depth, moment(oldest), refused, len(self._held))

    async def _call(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _hold(self, write: Write) -> None:
        if len(self._held) >= HELD_WRITES_MAX:
            log.critical(
                "The disk still refuses the outbox; a write is lost (%d held)", len(self._held)
            )
            return
        self._held.append(write)
        self._write_held()

    def _write_held(self) -> bool:
        try:
            connection = self._connection()
            while self._held:
                try:
                    with _transaction(connection):
                        self._held[0](connection)
                except sqlite3.IntegrityError:
                    log.exception("A write contradicts the outbox and is dropped")
                self._held.popleft()
        except (sqlite3.Error, OSError) as error:
            log.critical(
                "The outbox %s cannot be written (%s): %d entries are held in memory and would be"
                " lost with the hub. Free some disk space.",
                self.path,
                error,
                len(self._held),
            )
            return False
        return True

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self.path, timeout=5, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(SCHEMA)
            self._opened = connection
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def text(moment: datetime) -> str:
    """A moment as the file has it."""
    return moment.astimezone(UTC).isoformat()


def moment(text: str | None) -> datetime | None:
    """A moment out of the file."""
    return datetime.fromisoformat(text) if text else None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
