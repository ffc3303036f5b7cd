"""What the hub must not forget, in one SQLite file: the outbox and the state of every session.

A session's final event is written in the transaction that closes the session here, so there is
exactly one, whoever notices the end and however often.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args
from uuid import UUID, uuid4

from dachub.hub.clock import now
from dachub.hub.storage import OutboxStatus, Storage, Write, moment, text
from dachub.model.people import HubPerson, LoginRecord, RefusalRecord
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent

Topic = Literal["event", "login", "refusal"]

KEEP_ENDED = timedelta(days=30)

# Of events only those that the service refused for ever: the others must still be accounted. What
# is no JSON must not make the write fail, which would be tried again before all others.
_FORGET = (
    "DELETE FROM session WHERE ended_at IS NOT NULL AND"
    " CASE WHEN json_valid(body) THEN json_extract(body, '$.username') = :name END",
    "DELETE FROM outbox WHERE topic <> 'event' AND (key = :identity OR CASE WHEN json_valid(body)"
    " THEN :name IN (json_extract(body, '$.username'), json_extract(body, '$.claimed_name')) END)",
    "DELETE FROM dead_letter WHERE key = :identity OR CASE WHEN json_valid(body) THEN :name IN"
    " (json_extract(body, '$.username'), json_extract(body, '$.claimed_name'),"
    " json_extract(body, '$.session.username')) END",
    "UPDATE document SET etag = '', body ="
    " (SELECT json_group_array(json(value)) FROM json_each(body)"
    " WHERE json_extract(value, '$.username') <> :name)"
    " WHERE CASE WHEN json_valid(body) THEN json_type(body) END = 'array'",
    "DELETE FROM identity WHERE username = :name",
    "DELETE FROM person WHERE username = :name",
)


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


class Outbox:
    """The hub's memory. Every method may be called from the event loop; none blocks it.

    Parameters
    ----------
    path
        The SQLite file; see :class:`~dachub.hub.storage.Storage`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = Storage(path)
        self._arrived = {topic: asyncio.Event() for topic in get_args(Topic)}

    def arrived(self, topic: Topic) -> asyncio.Event:
        """Set when something may have been written; clear it *before* looking for letters."""
        return self._arrived[topic]

    async def close(self) -> None:
        """Write what is held and close the file."""
        await self.storage.close()

    # What happened to sessions

    async def requested(self, session: SessionDescription) -> None:
        """A person asked for a server: open the session."""
        event = _event(EventKind.REQUESTED, session, session.requested_at)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO session (session_id, body, requested_at) VALUES (?, ?, ?)",
                (str(session.session_id), session.model_dump_json(), text(session.requested_at)),
            )
            _append_event(connection, event)

        await self._write(write)

    async def started(
        self, session: SessionDescription, at: datetime, image_digest: str | None = None
    ) -> datetime:
        """The server answers; returns the moment as the ledger has it, never before the request."""
        at = max(at, session.requested_at)
        event = _event(EventKind.STARTED, session, at, started_at=at, image_digest=image_digest)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO session (session_id, body, requested_at, started_at, last_seen_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
                " SET started_at = excluded.started_at, last_seen_at = excluded.last_seen_at",
                (
                    str(session.session_id),
                    session.model_dump_json(),
                    text(session.requested_at),
                    text(at),
                    text(at),
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
            start, seen, ended = (moment(value) for value in row or (None, None, None))
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
                    text(session.requested_at),
                    text(start) if start else None,
                    text(event.at),
                ),
            )
            _append_event(connection, event)

        await self._write(write)

    async def seen_alive(self, sessions: Mapping[UUID, datetime]) -> None:
        """Note when sessions were known to run: an estimate, should nobody see their end."""
        rows = [(text(at), str(session_id)) for session_id, at in sessions.items()]
        if rows:
            await self._write(
                lambda connection: connection.executemany(
                    "UPDATE session SET last_seen_at = ? WHERE session_id = ?", rows
                )
            )

    async def open_sessions(self) -> list[OpenSession]:
        """Sessions without a final event."""
        rows = await self.storage.query(
            "SELECT body, started_at, last_seen_at FROM session WHERE ended_at IS NULL"
        )
        return [
            OpenSession(SessionDescription.model_validate_json(body), moment(start), moment(seen))
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

    async def next_letters(
        self, topic: Topic, limit: int = 200, without: Collection[int] = ()
    ) -> list[Letter]:
        """The oldest letters of a topic, in their order, without those of these numbers."""
        left_out = ", ".join(str(int(seq)) for seq in without)
        rows = await self.storage.query(
            "SELECT seq, topic, key, body FROM outbox"  # noqa: S608 - numbers only
            f" WHERE topic = ? AND seq NOT IN ({left_out}) ORDER BY seq LIMIT ?",
            topic,
            limit,
        )
        return [Letter(*row) for row in rows]

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
                (letter.seq, letter.topic, letter.key, letter.body, code, detail, text(now())),
            )

        await self._write(write)

    async def status(self) -> OutboxStatus:
        """How far the deliveries are behind."""
        return await self.storage.status()

    # Whom the hub knows

    async def username_of(self, issuer: str, subject: str) -> str | None:
        """The username bound to an identity, as far as the hub knows."""
        rows = await self.storage.query(
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
                (person.username, person.model_dump_json(), text(now())),
            )
        )

    async def person(self, username: str) -> HubPerson | None:
        """What the service last said of a person."""
        rows = await self.storage.query("SELECT body FROM person WHERE username = ?", username)
        return HubPerson.model_validate_json(rows[0][0]) if rows else None

    async def forget(self, username: str) -> None:
        """Forget a person, but not what still must be accounted."""

        def write(connection: sqlite3.Connection) -> None:
            found = connection.execute(
                "SELECT issuer, subject FROM identity WHERE username = ?", (username,)
            ).fetchone()
            values = {"name": username, "identity": "\0".join(found) if found else None}
            for statement in _FORGET:
                connection.execute(statement, values)

        await self._write(write)

    async def document(self, name: str) -> tuple[str, str] | None:
        """Copy of a document of the service: (ETag, body)."""
        rows = await self.storage.query("SELECT etag, body FROM document WHERE name = ?", name)
        return (rows[0][0], rows[0][1]) if rows else None

    async def save_document(self, name: str, etag: str, body: str) -> None:
        """Keep a copy of a document of the service."""
        await self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (name, etag, body)
            )
        )

    async def flush(self) -> bool:
        """Try the writes the disk refused; whether none is left."""
        return await self.storage.flush()

    async def prune(self) -> None:
        """Forget sessions that ended long ago, and logins that were refused for ever by then."""
        limit = (text(now() - KEEP_ENDED),)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM session WHERE ended_at < ?", limit)
            connection.execute(
                "DELETE FROM dead_letter WHERE topic <> 'event' AND refused_at < ?", limit
            )

        await self._write(write)

    async def _write(self, write: Write) -> None:
        # Shielded: a request that is given up must not leave the order of writes to chance.
        written = asyncio.ensure_future(self.storage.write(write))
        written.add_done_callback(self._wake)
        await asyncio.shield(written)

    def _wake(self, _: asyncio.Future[None]) -> None:
        for arrived in self._arrived.values():
            arrived.set()


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
        (topic, key, body, text(now())),
    )
