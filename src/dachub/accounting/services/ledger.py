"""The ledger: what happened to sessions, and what it cost, exactly once.

It has one writer at a time (an advisory lock of PostgreSQL, held to the end of the transaction), so
what a batch reads, decides and writes is one step, and two batches can neither lose each other's
changes nor wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from dachub.accounting.models import (
    Amounts,
    Counted,
    End,
    Entry,
    Life,
    SessionChangedSize,
    Start,
    UsageDifference,
    UsageKey,
)
from dachub.accounting.store.ledger import LedgerStore
from dachub.accounting.store.workers import WorkerStore
from dachub.directory.services import PseudonymService
from dachub.infra.clock import Clock
from dachub.model.names import is_pseudonym
from dachub.model.sessions import (
    Correction,
    EndReason,
    EventKind,
    EventReceipt,
    RefusedEvent,
    SessionDescription,
    SessionEvent,
)
from dachub.model.units import day_start, split_by_day

FUTURE_TOLERANCE = timedelta(minutes=5)
"""How far the hub's clock may be ahead of ours."""
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
"""Before this no session ran: a clock that says so was not set."""

# Told of a session that already stands under a pseudonym, without who it was.
_NOT_PERSONAL = set(SessionDescription.model_fields) - {"username", "server_name", "image"}

log = structlog.get_logger(__name__)


class Ledger:
    """Applies events; keeps ``usage_day`` equal to the sum over segments of what is counted."""

    def __init__(
        self,
        store: LedgerStore,
        workers: WorkerStore,
        pseudonyms: PseudonymService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._workers = workers
        self._pseudonyms = pseudonyms
        self._clock = clock

    async def lock(self) -> None:
        """Be the ledger's only writer until the transaction ends."""
        await self._store.lock()

    async def apply(self, events: Sequence[SessionEvent]) -> EventReceipt:
        """Take events in any order, any number of times.

        People and groups that the directory does not know are accounted all the same. Refused,
        for ever and with a code, are only: ``event-in-future`` and ``event-too-old`` (the hub's
        clock is more than 5 minutes ahead, or was never set) and ``session-contradicted`` (another
        description of a known session). What a refused event would have told, the reconciler finds
        out by itself and marks as an estimate.
        """
        await self._store.lock()
        entries = await self._store.entries({event.session.session_id for event in events})
        late = await self._pseudonyms.of_forgotten(
            {event.session.username for event in events if event.session.session_id not in entries}
        )
        refused: list[RefusedEvent] = []
        lives: dict[UUID, Life] = {}
        latest = self._clock.now() + FUTURE_TOLERANCE
        for event in events:
            description = _charged_to(_storable(event.session), late)
            session_id = description.session_id
            refusal = _implausible(event, latest)
            if refusal is None:
                entry = entries.setdefault(session_id, Entry(description))
                if is_pseudonym(entry.description.username):
                    description = entry.description.model_copy(
                        update={name: getattr(description, name) for name in _NOT_PERSONAL}
                    )
                refusal = _contradiction(event, description, entry.description)
            if refusal is not None:
                log.warning(
                    "event refused",
                    event_id=str(event.event_id),
                    session_id=str(session_id),
                    code=refusal.code,
                    detail=refusal.detail,
                )
                refused.append(refusal)
                continue
            life = _life_of(event)
            if is_pseudonym(description.username):  # an image may tell whose it was
                life = replace(life, image_digest=None)
            lives[session_id] = lives.get(session_id, Life()).merge(life)
        await self.merge(entries, lives)
        return EventReceipt(accepted=len(events) - len(refused), refused=refused)

    async def merge(self, entries: Mapping[UUID, Entry], lives: Mapping[UUID, Life]) -> None:
        """Add to ``entries`` (just read, under the lock; new ones included) what else is known."""
        new: list[Entry] = []
        changed: list[Entry] = []
        moved: list[Entry] = []
        deltas: dict[UsageKey, Amounts] = {}
        for session_id in sorted(lives):
            entry = entries[session_id]
            life = entry.life.merge(lives[session_id])
            if entry.stored and life == entry.life:
                continue
            (changed if entry.stored else new).append(entry)
            if (life.start, life.end) != (entry.life.start, entry.life.end):
                moved.append(entry)
                _log_oddities(entry, life)
            entry.life = life
            _count(entry, _counted(entry), deltas)
        await self._store.add(new)
        await self._store.change(changed)
        await self._store.put_segments(moved)
        await self._store.add_usage(deltas)

    async def entry(self, session_id: UUID) -> Entry | None:
        """A session, to be corrected: nobody else writes to the ledger until the transaction ends.

        Raises
        ------
        SessionChangedSize
            If it has several segments: what to make of each, a start and an end cannot say.
        """
        await self._store.lock()
        entry = (await self._store.entries([session_id])).get(session_id)
        if entry is not None and await self._store.count_segments(session_id) > 1:
            raise SessionChangedSize(
                "This session changed its resources while it ran; such sessions cannot be "
                "corrected yet. Adjust the group's allocation instead, with the reason."
            )
        return entry

    async def correct(self, entry: Entry, correction: Correction) -> None:
        """Append a correction to an :meth:`entry` that has started; what is charged follows."""
        entry.correction = correction
        deltas: dict[UsageKey, Amounts] = {}
        _count(entry, _counted(entry), deltas)
        await self._store.add_correction(entry.description.session_id, correction)
        await self._store.put_segments([entry])
        await self._store.add_usage(deltas)

    async def count_open_days(self) -> int:
        """Count open segments up to the midnight (UTC) that began today; returns how many moved.

        For a daily worker; any number of missed days are made up for. Segments counted into the
        future by a clock that was ahead are put right.
        """
        await self._store.lock()
        now = self._clock.now()
        midnight = day_start(now)
        entries = await self._store.uncounted(midnight, now)
        deltas: dict[UsageKey, Amounts] = {}
        for entry in entries.values():
            if entry.counted is not None:
                since = entry.counted.since
                _count(entry, Counted(since, max(since, midnight)), deltas)
        await self._store.put_segments(list(entries.values()))
        await self._store.add_usage(deltas)
        await self._workers.record("count-open-days", now, f"{len(entries)} segments")
        return len(entries)

    async def rebuild_usage_days(self) -> int:
        """Sum usage anew from the segments; returns the number of days' rows."""
        await self._store.lock()
        return await self._store.rebuild_usage()

    async def pseudonymise(self, before: datetime, limit: int, spared: set[UUID]) -> int:
        """Put pseudonyms in the place of names in sessions that ended before a moment.

        What they used moves along in ``usage_day``, to the second.

        Parameters
        ----------
        spared
            Sessions with which it did not go in this run, which are not tried again; those with
            which it does not go now are added, and said in the log.

        Returns
        -------
        int
            At how many sessions it looked, at most ``limit``: fewer mean that none is left.
        """
        await self._store.lock()
        sessions = await self._store.named_sessions(before, limit, spared)

        async def rename(session_ids: Sequence[UUID]) -> None:
            await self._rename({session_id: sessions[session_id] for session_id in session_ids})

        for session_id, error in await self._store.in_parts([*sessions], rename):
            spared.add(session_id)
            log.error(
                "a session past its term keeps its name", session_id=str(session_id),
                error=str(error)[:300],
            )  # fmt: skip
        return len(sessions)

    async def _rename(self, sessions: Mapping[UUID, str]) -> None:
        """Put the pseudonyms of people in the place of their names in ended sessions."""
        names = await self._pseudonyms.give_all(set(sessions.values()))
        deltas: dict[UsageKey, Amounts] = {}
        for key, amounts in (await self._store.counted_of(sessions)).items():
            deltas[key] = -amounts
            deltas[replace(key, username=names[key.username])] = amounts
        await self._store.add_usage(deltas)
        await self._store.rename(sessions, names)

    async def check_usage_days(self) -> list[UsageDifference]:
        """Where the sums are not what the segments say: nowhere, unless somebody meddled."""
        differences = await self._store.usage_differences()
        if differences:
            log.error("the sums of usage differ from the segments", rows=len(differences))
        await self._workers.record(
            "check-usage-days", self._clock.now(), f"{len(differences)} differences"
        )
        return differences


def _charged_to(description: SessionDescription, names: Mapping[str, str]) -> SessionDescription:
    """The same under the pseudonym, if ``names`` has one for the person."""
    username = names.get(description.username, description.username)
    return description.model_copy(update={"username": username})


def _storable(description: SessionDescription) -> SessionDescription:
    """The same without NUL, which PostgreSQL cannot keep in a text."""
    texts = {
        name: value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        for name in ("server_name", "size", "environment")
        if "\0" in (value := getattr(description, name))
    }
    return description.model_copy(update=texts) if texts else description


def _implausible(event: SessionEvent, latest: datetime) -> RefusedEvent | None:
    moments = [event.session.requested_at, event.at]
    if event.started_at is not None:
        moments.append(event.started_at)
    if max(moments) > latest:
        return RefusedEvent(
            event_id=event.event_id,
            code="event-in-future",
            detail=f"{max(moments).isoformat()} is more than 5 minutes ahead of the service's "
            "clock; set the hub's clock.",
        )
    if min(moments) < BEGINNING:
        return RefusedEvent(
            event_id=event.event_id,
            code="event-too-old",
            detail=f"{min(moments).isoformat()} is before 2020; set the hub's clock.",
        )
    return None


def _contradiction(
    event: SessionEvent, told: SessionDescription, known: SessionDescription
) -> RefusedEvent | None:
    differing = [
        name
        for name in SessionDescription.model_fields
        if getattr(told, name) != getattr(known, name)
    ]
    if not differing:
        return None
    return RefusedEvent(
        event_id=event.event_id,
        code="session-contradicted",
        detail="The ledger knows this session with another "
        + ", ".join(differing)
        + "; what a session is never changes.",
    )


def _life_of(event: SessionEvent) -> Life:
    """What one event tells; nothing happens before the request, whatever the clock said."""
    requested_at = event.session.requested_at
    started_at = event.started_at
    if event.kind is EventKind.STARTED:
        started_at = started_at or event.at
    start = None
    if started_at is not None and event.kind in (EventKind.STARTED, EventKind.STOPPED):
        start = Start(max(started_at, requested_at), is_estimate=started_at < requested_at)
    end = None
    if event.kind in (EventKind.STOPPED, EventKind.FAILED):
        default = EndReason.FAILED if event.kind is EventKind.FAILED else EndReason.STOPPED
        end = End(
            max(event.at, requested_at),
            event.end_reason or default,
            is_estimate=event.end_is_estimate or event.at < requested_at,
        )
    return Life(start, end, start.at if start else None, event.image_digest)


def _counted(entry: Entry) -> Counted | None:
    """How far the entry's segment is to be counted, now that it is known what is charged."""
    charged, before = entry.charged, entry.counted
    if charged is None:
        return None
    if charged.until is not None:
        return Counted(charged.since, charged.until)
    return Counted(charged.since, max(charged.since, before.until) if before else charged.since)


def _count(entry: Entry, counted: Counted | None, deltas: dict[UsageKey, Amounts]) -> None:
    """Set how far the segment is counted; the difference goes to ``deltas``."""
    _add(entry.description, entry.counted, -1, deltas)
    _add(entry.description, counted, +1, deltas)
    entry.counted = counted


def _add(
    description: SessionDescription,
    counted: Counted | None,
    sign: int,
    deltas: dict[UsageKey, Amounts],
) -> None:
    if counted is None:
        return
    for midnight, seconds in split_by_day(counted.since, counted.until):
        key = UsageKey.of(midnight.date(), description)
        deltas.setdefault(key, Amounts()).add(description, sign * seconds)


def _log_oddities(entry: Entry, life: Life) -> None:
    if entry.life.end is not None and life.end is None:
        log.warning("session reopened: seen alive", session_id=str(entry.description.session_id))
    if life.start and life.end and life.end.at < life.start.at:
        log.warning(
            "session ended before it started: the clock ran backwards; nothing is charged",
            session_id=str(entry.description.session_id),
            started_at=life.start.at.isoformat(),
            ended_at=life.end.at.isoformat(),
        )


def lost(entries: Iterable[Entry]) -> dict[UUID, Life]:
    """What to conclude of sessions that are gone: lost when last seen; failed if never started."""
    return {entry.description.session_id: Life(end=_concluded(entry)) for entry in entries}


def _concluded(entry: Entry) -> End:
    start = entry.life.start
    if start is None:
        return End(entry.description.requested_at, EndReason.FAILED, is_estimate=True)
    return End(max(start.at, entry.life.seen_at or start.at), EndReason.LOST, is_estimate=True)
