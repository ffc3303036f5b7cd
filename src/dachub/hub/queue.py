"""Waiting for one's turn, at this hub: for cores, as the service says, and for the start itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from dachub.hub.logs import end_request
from dachub.hub.service import Service, ServiceDown, ServiceRefused
from dachub.model.queue import WAITING_MAX, Place, QueueRequest

log = logging.getLogger(__name__)

ASKED_EVERY_SECONDS = 3.0
ASKING_SECONDS = 10.0
SILENCE_SECONDS = 120.0
"""A service that is silent for longer keeps nobody waiting: starts go on as they do without it."""
DECISIONS_AT_ONCE = 16
"""Of a storm of starts the others wait here, so that each gets an answer in its time."""


class Waiting:
    """What a person is told while their server waits for its turn; whoever looks sees changes."""

    def __init__(self) -> None:
        self._text = ""
        self._is_over = False
        self._changed = asyncio.Event()

    def tell(self, text: str) -> None:
        """Say how it stands now."""
        if text != self._text:
            self._text = text
            self._change()

    def over(self) -> None:
        """Say no more: it is the server's turn."""
        self._is_over = True
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def texts(self) -> AsyncIterator[str]:
        """What is said, now and whenever it changes, until the waiting is over."""
        told = ""
        while not self._is_over:
            changed = self._changed
            if self._text != told:
                told = self._text
                yield told
            else:
                await changed.wait()


@dataclass
class _Entry:
    """A server that waits for cores."""

    waiting: Waiting
    decide_anew: asyncio.Event = field(default_factory=asyncio.Event)


class Queue:
    """The servers of this hub that wait for cores; one request asks for all of them together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._entries: dict[UUID, _Entry] = {}
        self._left: set[UUID] = set()
        self._answered_at = time.monotonic()
        self.deciding = asyncio.Semaphore(DECISIONS_AT_ONCE)

    @asynccontextmanager
    async def entry(self, session_id: UUID) -> AsyncIterator[None]:
        """What a server that is to start does before it is in the ledger.

        If that fails or is cancelled, others get what it waited for, or was granted.
        """
        try:
            yield
        except BaseException:
            self._left.add(session_id)
            raise

    async def wait(self, session_id: UUID, place: Place, waiting: Waiting) -> None:
        """Return when the service is to be asked again whether the server may start."""
        if not self._entries:
            self._answered_at = time.monotonic()
        waiting.tell(place.message)
        entry = self._entries[session_id] = _Entry(waiting)
        try:
            await entry.decide_anew.wait()
        finally:
            del self._entries[session_id]

    async def ask(self) -> None:
        """Ask for all who wait, and tell of those who do so no longer."""
        asked = dict(islice(self._entries.items(), WAITING_MAX))
        left = frozenset(islice(self._left, WAITING_MAX))
        if not asked and not left:
            return
        end_request()  # each time is a request of its own
        request = QueueRequest(waiting=list(asked), left=list(left))
        try:
            answer = await self._service.queue(request, ASKING_SECONDS)
        except (ServiceDown, ServiceRefused) as error:
            self._not_answered(error.message)
            return
        self._answered_at = time.monotonic()
        self._left -= left
        for session_id, entry in asked.items():
            place = answer.places.get(session_id)
            if place is None:
                entry.decide_anew.set()
            else:
                entry.waiting.tell(place.message)

    def _not_answered(self, message: str) -> None:
        silent_seconds = time.monotonic() - self._answered_at
        if silent_seconds < SILENCE_SECONDS:
            return
        log.warning(
            "%s For %d s: %d servers wait no longer for cores", message, silent_seconds,
            len(self._entries),
        )  # fmt: skip
        for entry in self._entries.values():
            entry.decide_anew.set()


class Gate:
    """Lets so many servers start at once; the others wait in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._turns = asyncio.Semaphore(at_once)
        self._line: list[Waiting] = []

    @asynccontextmanager
    async def turn(self, waiting: Waiting) -> AsyncIterator[None]:
        """Wait for one's turn, and have it."""
        self._line.append(waiting)
        self._tell()
        try:
            await self._turns.acquire()
        finally:
            self._line.remove(waiting)
            self._tell()
        try:
            yield
        finally:
            self._turns.release()

    def _tell(self) -> None:
        if not self._turns.locked():
            return
        for number, waiting in enumerate(self._line, start=1):
            waiting.tell(
                f"You are number {number} of {len(self._line)} in the queue: {self._at_once} "
                "servers start at a time. Yours starts by itself when it is your turn."
            )
