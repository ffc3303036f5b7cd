"""Delivers the outbox to the service: in order, until it arrives, never in anyone's way.

Events, logins and refusals go their own ways, so that one endpoint that fails holds up no other.
Where the service fails on a batch, it is halved until the entry it fails on stands alone; that one
is tried again with growing pauses, and the others pass by.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from dachub.hub.logs import end_request
from dachub.hub.outbox import Letter, Outbox, Topic
from dachub.hub.service import Service, ServiceDown, ServiceRefused
from dachub.model.people import LoginRecord, RefusalRecord
from dachub.model.sessions import SessionEvent

log = logging.getLogger(__name__)

BATCH_MAX = 200
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_REST_SECONDS = 60.0
IDLE_SECONDS = 5.0
GATHER_SECONDS = 0.3  # what arrives together travels together: a letter costs more than its words
PATIENCE = 5  # so many answers 503 in a row are taken for an outage
FEW = 10  # so many entries may fail without holding up the others
# Answers that say "this letter is wrong", not "this hub may not" or "the service is not itself".
HOPELESS = frozenset({400, 409, 413, 422})


@dataclass(slots=True)
class Rest:
    """A letter that the service fails on waits."""

    failures: int = 0
    until: float = 0.0


class Route:
    """The way of one topic's letters from the outbox to the service."""

    topic: ClassVar[Topic]
    model: ClassVar[type[BaseModel]]
    batch_max: ClassVar[int] = 1

    def __init__(self, outbox: Outbox, service: Service) -> None:
        self._outbox = outbox
        self._service = service
        self._batch = self.batch_max
        self._failures = 0
        self._rests: dict[int, Rest] = {}

    async def run(self) -> None:
        """Deliver for ever."""
        arrived = self._outbox.arrived(self.topic)
        while True:
            arrived.clear()  # before looking, so that nothing comes between the look and the wait
            try:
                more = await self.deliver()
            except Exception as error:  # noqa: BLE001 - this task must outlive every surprise
                await self._pause(error)
                continue
            if not more:
                try:
                    await asyncio.wait_for(arrived.wait(), self._idle_seconds())
                except TimeoutError:
                    await self._outbox.flush()
                else:
                    await asyncio.sleep(GATHER_SECONDS)

    async def deliver(self) -> bool:
        """Deliver what is next; whether there was something.

        Raises
        ------
        ServiceDown, ServiceRefused
            If it could not be delivered now; it stays in the outbox.
        """
        end_request()  # each delivery is a request of its own
        letters = await self._next()
        if not letters:
            return False
        known = frozenset(self._rests)
        try:
            await self.carry(letters)
        except (ServiceDown, ServiceRefused) as error:
            if not self._lies_with_the_letters(error):
                raise
            if len(letters) > 1:
                self._batch = len(letters) // 2
                return True
            if isinstance(error, ServiceDown):
                self._rest(letters[0], error)
                if letters[0].seq not in known or len(known) > FEW:
                    raise  # it may as well be the endpoint
                return True
            await self.set_aside(letters[0], error.problem_code, error.message)
        for letter in letters:
            self._rests.pop(letter.seq, None)
        self._batch = min(self.batch_max, self._batch * 2)
        if self._failures:
            log.info("The service takes entries of the kind '%s' again", self.topic)
            self._failures = 0
        return True

    async def carry(self, letters: Sequence[Letter]) -> None:
        """Bring legible letters to the service and forget them."""
        raise NotImplementedError

    async def set_aside(self, letter: Letter, code: str, detail: str) -> None:
        """Keep a letter that the service will never take apart, loudly."""
        log.error(
            "The service refused an entry of the outbox for good: %s %s: %s (%s). It is kept in the"
            " table dead_letter of %s.",
            letter.topic,
            letter.key.replace("\0", " "),
            detail,
            code,
            self._outbox.path,
        )
        await self._outbox.refused(letter, code, detail)

    def _lies_with_the_letters(self, error: ServiceDown | ServiceRefused) -> bool:
        """Whether others may pass where these do not."""
        if isinstance(error, ServiceRefused):
            return error.problem_status in HOPELESS
        if error.answered_status == 503:  # "try again later", unless it says so for ever
            return self._failures >= PATIENCE
        return error.connected

    async def _next(self) -> Sequence[Letter]:
        """The next letters that can be read; one that failed before goes alone."""
        resting = [seq for seq, rest in self._rests.items() if rest.until > time.monotonic()]
        while True:
            letters = await self._outbox.next_letters(self.topic, self._batch, resting)
            letters = next(([one] for one in letters if one.seq in self._rests), letters)
            legible = [letter for letter in letters if await self._is_legible(letter)]
            if legible or not letters:
                return legible

    async def _is_legible(self, letter: Letter) -> bool:
        """Whether this version can read what an older one may have written."""
        try:
            self.model.model_validate_json(letter.body)
        except ValidationError as error:
            await self.set_aside(letter, "illegible", str(error))
            return False
        return True

    def _rest(self, letter: Letter, error: ServiceDown) -> None:
        rest = self._rests.setdefault(letter.seq, Rest())
        rest.failures += 1
        pause_seconds = min(LONGEST_REST_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(rest.failures, 10))
        rest.until = time.monotonic() + pause_seconds
        if rest.failures > 1 and rest.failures.bit_count() == 1:
            log.error(
                "The service has failed %d times on one entry: %s %s: %s It stays in the outbox %s,"
                " others pass it. Look for it in the service's log.",
                rest.failures,
                letter.topic,
                letter.key.replace("\0", " "),
                error.message,
                self._outbox.path,
            )

    def _idle_seconds(self) -> float:
        next_try = min((rest.until for rest in self._rests.values()), default=float("inf"))
        return min(IDLE_SECONDS, max(0.0, next_try - time.monotonic()))

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if not isinstance(error, ServiceDown | ServiceRefused):
            log.error("Delivery failed unexpectedly", exc_info=error)
        elif self._failures == 1 or self._failures % 20 == 0:
            log.warning("%s Entries of the kind '%s' wait.", error.message, self.topic)
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10))
        await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing


class EventRoute(Route):
    """Events, many at once."""

    topic = "event"
    model = SessionEvent
    batch_max = BATCH_MAX

    async def carry(self, letters: Sequence[Letter]) -> None:
        """Send a batch; what the ledger refuses for ever is set aside."""
        events = [SessionEvent.model_validate_json(letter.body) for letter in letters]
        receipt = await self._service.send_events(events)
        refused = {str(entry.event_id): entry for entry in receipt.refused}
        for letter in letters:
            if (entry := refused.get(letter.key)) is not None:
                await self.set_aside(letter, entry.code, entry.detail)
        await self._outbox.delivered([one for one in letters if one.key not in refused])


class LoginRoute(Route):
    """Logins and refreshes that the service could not be told."""

    topic = "login"
    model = LoginRecord

    async def carry(self, letters: Sequence[Letter]) -> None:
        """Tell of a login and remember who it was."""
        (letter,) = letters
        record = LoginRecord.model_validate_json(letter.body)
        try:
            person = await self._service.record_login(record)
        except ServiceRefused as refusal:
            if refusal.problem_code != "account-disabled":
                raise
            if record.username and (known := await self._outbox.person(record.username)):
                await self._outbox.save_person(known.model_copy(update={"disabled": True}))
            await self.set_aside(letter, refusal.problem_code, refusal.message)
            return
        if record.username not in (None, person.username):
            log.error(
                "The directory knows %r as %r: the name the hub gave while the service was down"
                " is used no more",
                record.username,
                person.username,
            )
        await self._outbox.bind(record.issuer, record.subject, person.username)
        await self._outbox.save_person(person)
        await self._outbox.delivered(letters)


class RefusalRoute(Route):
    """Refused logins, for the audit log."""

    topic = "refusal"
    model = RefusalRecord

    async def carry(self, letters: Sequence[Letter]) -> None:
        """Tell of a refused login."""
        (letter,) = letters
        await self._service.record_refusal(RefusalRecord.model_validate_json(letter.body))
        await self._outbox.delivered(letters)


class Delivery:
    """Carries letters from the outbox to the service, each topic by a route of its own."""

    def __init__(self, outbox: Outbox, service: Service) -> None:
        self.routes = [kind(outbox, service) for kind in (EventRoute, LoginRoute, RefusalRoute)]

    async def run(self) -> None:
        """Deliver for ever."""
        await asyncio.gather(*(route.run() for route in self.routes))
