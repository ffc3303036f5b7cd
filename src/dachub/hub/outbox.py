"""What the hub must not forget, in one SQLite file: the outbox and the state of every session.

All writes go through one thread, each in a transaction that is on disk when it returns (WAL,
``synchronous=FULL``). A session's final event is written in the transaction that closes the session
here, so there is exactly one, whoever notices the end and however often.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

from dachub.model.people import HubPerson, LoginRecord, RefusalRecord
from dachub.model.problems import Unavailable
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Topic = Literal["event", "login", "refusal"]
Write = Callable[[sqlite3.Connection], object]

KEEP_ENDED = timedelta(days=30)
HELD_WRITES_MAX = 100_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key TEXT NOT NULL,
    body TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_key ON outbox (topic, key);
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


def now() -> datetime:
    """Now, in UTC, cut to the whole second."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Letter:
    """Something waiting for delivery."""

    seq: int
    topic: Topic
    key: str
    body: str


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that has no final event yet."""

    session: SessionDescription
    started_at: datetime | None
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """How far the deliveries are behind."""

    depth: int
    oldest_at: datetime | None
    refused: int
    held_in_memory: int = 0


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


def read_status(path: Path) -> OutboxStatus:
    """State of an outbox, read from its file while the hub may be using it.

    Raises
    ------
    sqlite3.Error
        If there is no such file or it cannot be read.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
    try:
        return _status(connection)
    finally:
        connection.close()


def _status(connection: sqlite3.Connection) -> OutboxStatus:
    depth, oldest = connection.execute("SELECT count(*), min(created_at) FROM outbox").fetchone()
    (refused,) = connection.execute("SELECT count(*) FROM dead_letter").fetchone()
    return OutboxStatus(depth, datetime.fromisoformat(oldest) if oldest else None, refused)


class Outbox:
    """The hub's memory. Every method may be called from the event loop; none blocks it.

    A write that the disk refuses (full, failing) is kept in memory in its order and tried again
    with the next write or :meth:`flush`; what the hub does for people goes on meanwhile.

    Parameters
    ----------
    path
        The SQLite file; created with mode 0600. Not on a network file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._opened: sqlite3.Connection | None = None
        self._held: deque[Write] = deque()

    async def close(self) -> None:
        """Write what is held and close the file."""
        await self.flush()
        await self._call(self._close)
        self._thread.shutdown(wait=False)

    # What happened to sessions

    async def requested(self, session: SessionDescription) -> None:
        """A person asked for a server: open the session."""
        event = _event(EventKind.REQUESTED, session, session.requested_at)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO session (session_id, body, requested_at) VALUES (?, ?, ?)",
                (str(session.session_id), session.model_dump_json(), _text(session.requested_at)),
            )
            _append_event(connection, event)

        await self._write(write)

    async def started(self, session: SessionDescription, at: datetime) -> datetime:
        """The server answers; returns the moment as the ledger has it, never before the request."""
        at = max(at, session.requested_at)
        event = _event(EventKind.STARTED, session, at, started_at=at)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO session (session_id, body, requested_at, started_at, last_seen_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
                " SET started_at = excluded.started_at, last_seen_at = excluded.last_seen_at",
                (
                    str(session.session_id),
                    session.model_dump_json(),
                    _text(session.requested_at),
                    _text(at),
                    _text(at),
                ),
            )
            _append_event(connection, event)

        await self._write(write)
        return at

    async def ended(
        self,
        session: SessionDescription,
        *,
        started_at: datetime | None,
        at: datetime | None,
        reason: EndReason,
    ) -> None:
        """Close a session, once; a session closed before is left as it is.

        Parameters
        ----------
        started_at
            As the caller knows it; what is written here counts first.
        at
            When it ended; ``None`` where nobody saw it: the last moment it was seen alive is
            taken and marked as an estimate.
        """

        def write(connection: sqlite3.Connection) -> None:
            row = connection.execute(
                "SELECT started_at, last_seen_at, ended_at FROM session WHERE session_id = ?",
                (str(session.session_id),),
            ).fetchone()
            start, seen, ended = (_moment(value) for value in row or (None, None, None))
            if ended is not None:
                return
            start = start or started_at
            event = _final_event(session, start, seen, at, reason)
            connection.execute(
                "INSERT INTO session (session_id, body, requested_at, started_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
                " SET ended_at = excluded.ended_at",
                (
                    str(session.session_id),
                    session.model_dump_json(),
                    _text(session.requested_at),
                    _text(start) if start else None,
                    _text(event.at),
                ),
            )
            _append_event(connection, event)

        await self._write(write)

    async def seen_alive(self, session_ids: Iterable[UUID], at: datetime) -> None:
        """Note that these sessions run: the base of an estimate, should nobody see their end."""
        rows = [(_text(at), str(session_id)) for session_id in session_ids]
        if rows:
            await self._write(
                lambda connection: connection.executemany(
                    "UPDATE session SET last_seen_at = ? WHERE session_id = ?", rows
                )
            )

    async def open_sessions(self) -> list[OpenSession]:
        """Sessions without a final event."""
        rows = await self._query(
            "SELECT body, started_at, last_seen_at FROM session WHERE ended_at IS NULL"
        )
        return [
            OpenSession(SessionDescription.model_validate_json(body), _moment(start), _moment(seen))
            for body, start, seen in rows
        ]

    # Letters to the service

    async def post_login(self, record: LoginRecord) -> None:
        """Queue a login that the service could not be told; an older refresh is superseded."""
        key = f"{record.issuer}\0{record.subject}"

        def write(connection: sqlite3.Connection) -> None:
            if record.refresh:
                connection.execute(
                    "DELETE FROM outbox WHERE topic = 'login' AND key = ?"
                    " AND json_extract(body, '$.refresh')",
                    (key,),
                )
            _append(connection, "login", key, record.model_dump_json())

        await self._write(write)

    async def post_refusal(self, record: RefusalRecord) -> None:
        """Queue a refused login for the audit log."""
        await self._write(
            lambda connection: _append(
                connection, "refusal", str(uuid4()), record.model_dump_json()
            )
        )

    async def next_letters(self, limit: int = 200) -> list[Letter]:
        """The oldest letters of one topic, in their order."""
        rows = await self._query(
            "SELECT seq, topic, key, body FROM outbox ORDER BY seq LIMIT ?", limit
        )
        letters = [Letter(*row) for row in rows]
        run: list[Letter] = []
        for letter in letters:
            if letter.topic != letters[0].topic:
                break
            run.append(letter)
        return run

    async def delivered(self, letters: Sequence[Letter]) -> None:
        """Forget letters that arrived."""
        rows = [(letter.seq,) for letter in letters]
        await self._write(
            lambda connection: connection.executemany("DELETE FROM outbox WHERE seq = ?", rows)
        )

    async def refused(self, letter: Letter, code: str, detail: str) -> None:
        """Put a letter aside that the service will never take."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM outbox WHERE seq = ?", (letter.seq,))
            connection.execute(
                "INSERT OR REPLACE INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?)",
                (letter.seq, letter.topic, letter.key, letter.body, code, detail, _text(now())),
            )

        await self._write(write)

    async def status(self) -> OutboxStatus:
        """How far the deliveries are behind."""
        status = await self._call(lambda: _status(self._connection()))
        return OutboxStatus(status.depth, status.oldest_at, status.refused, len(self._held))

    # Whom the hub knows

    async def username_of(self, issuer: str, subject: str) -> str | None:
        """The username bound to an identity, as far as the hub knows."""
        rows = await self._query(
            "SELECT username FROM identity WHERE issuer = ? AND subject = ?", issuer, subject
        )
        return rows[0][0] if rows else None

    async def bind(self, issuer: str, subject: str, username: str) -> bool:
        """Remember whose a username is; ``False`` where it belongs to another identity."""
        bound: list[bool] = []

        def write(connection: sqlite3.Connection) -> None:
            owner = connection.execute(
                "SELECT issuer, subject FROM identity WHERE username = ?", (username,)
            ).fetchone()
            bound.append(owner is None or owner == (issuer, subject))
            if bound[-1]:
                connection.execute(
                    "INSERT INTO identity VALUES (?, ?, ?)"
                    " ON CONFLICT (issuer, subject) DO UPDATE SET username = excluded.username",
                    (issuer, subject, username),
                )

        await self._write(write)
        return all(bound)

    async def save_person(self, person: HubPerson) -> None:
        """Remember what the service last said of a person."""
        await self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO person VALUES (?, ?, ?)",
                (person.username, person.model_dump_json(), _text(now())),
            )
        )

    async def person(self, username: str) -> HubPerson | None:
        """What the service last said of a person."""
        rows = await self._query("SELECT body FROM person WHERE username = ?", username)
        return HubPerson.model_validate_json(rows[0][0]) if rows else None

    async def document(self, name: str) -> tuple[str, str] | None:
        """Copy of a document of the service: (ETag, body)."""
        rows = await self._query("SELECT etag, body FROM document WHERE name = ?", name)
        return (rows[0][0], rows[0][1]) if rows else None

    async def save_document(self, name: str, etag: str, body: str) -> None:
        """Keep a copy of a document of the service."""
        await self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (name, etag, body)
            )
        )

    # The file

    async def flush(self) -> bool:
        """Try the writes the disk refused; whether none is left."""
        return await self._call(self._write_held)

    async def prune(self) -> None:
        """Forget sessions that ended long ago."""
        limit = _text(now() - KEEP_ENDED)
        await self._write(
            lambda connection: connection.execute(
                "DELETE FROM session WHERE ended_at < ?", (limit,)
            )
        )

    async def _call(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            return await self._call(lambda: self._connection().execute(sql, arguments).fetchall())
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"The hub's own memory cannot be read: {error}") from error

    async def _write(self, write: Write) -> None:
        # Shielded: a request that is given up must not leave the order of writes to chance.
        await asyncio.shield(asyncio.ensure_future(self._call(lambda: self._hold(write))))
        self.arrived.set()

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


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _event(
    kind: EventKind, session: SessionDescription, at: datetime, **more: object
) -> SessionEvent:
    return SessionEvent.model_validate(
        {"event_id": uuid4(), "kind": kind, "session": session, "at": at, **more}
    )


def _final_event(
    session: SessionDescription,
    started_at: datetime | None,
    last_seen_at: datetime | None,
    at: datetime | None,
    reason: EndReason,
) -> SessionEvent:
    if started_at is None:
        end = max(at or now(), session.requested_at)
        return _event(EventKind.FAILED, session, end, end_reason=EndReason.FAILED)
    # A clock set back must not make a session end before it began.
    end = max(at or last_seen_at or started_at, started_at)
    return _event(
        EventKind.STOPPED,
        session,
        end,
        started_at=started_at,
        end_reason=reason,
        end_is_estimate=at is None,
    )


def _append_event(connection: sqlite3.Connection, event: SessionEvent) -> None:
    _append(connection, "event", str(event.event_id), event.model_dump_json())


def _append(connection: sqlite3.Connection, topic: Topic, key: str, body: str) -> None:
    connection.execute(
        "INSERT INTO outbox (topic, key, body, created_at) VALUES (?, ?, ?, ?)",
        (topic, key, body, _text(now())),
    )
