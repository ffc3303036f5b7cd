"""Delivers the outbox to the service: in order, until it arrives, never in anyone's way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from dachub.hub.outbox import Letter, Outbox, Topic
from dachub.hub.service import Service, ServiceDown, ServiceRefused
from dachub.model.people import LoginRecord, RefusalRecord
from dachub.model.sessions import SessionEvent

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
IDLE_SECONDS = 5.0
# Answers that say "this letter is wrong", not "this hub may not" or "the service is not itself".
HOPELESS = frozenset({400, 403, 409, 413, 422})

MODELS: dict[Topic, type[BaseModel]] = {
    "event": SessionEvent,
    "login": LoginRecord,
    "refusal": RefusalRecord,
}


class Delivery:
    """Carries letters from the outbox to the service."""

    def __init__(self, outbox: Outbox, service: Service) -> None:
        self._outbox = outbox
        self._service = service
        self._failures = 0

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                more = await self.deliver()
                if self._failures:
                    log.info("The service takes events again")
                self._failures = 0
            except Exception as error:  # noqa: BLE001 - this task must outlive every surprise
                await self._pause(error)
                continue
            if not more:
                self._outbox.arrived.clear()
                try:
                    await asyncio.wait_for(self._outbox.arrived.wait(), IDLE_SECONDS)
                except TimeoutError:
                    await self._outbox.flush()

    async def deliver(self) -> bool:
        """Deliver one batch; whether there was one.

        Raises
        ------
        ServiceDown, ServiceRefused
            If it could not be delivered now; it stays in the outbox.
        """
        letters = await self._outbox.next_letters()
        if not letters:
            return False
        match letters[0].topic:
            case "event":
                await self._events(letters)
            case "login":
                await self._login(letters[0])
            case "refusal":
                await self._refusal(letters[0])
        return True

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if isinstance(error, ServiceDown | ServiceRefused):
            if self._failures == 1 or self._failures % 20 == 0:
                status = await self._outbox.status()
                log.warning("%s %d entries wait in the outbox.", error.message, status.depth)
        else:
            log.error("Delivery failed unexpectedly", exc_info=error)
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10))
        await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing

    async def _events(self, letters: Sequence[Letter]) -> None:
        good = [letter for letter in letters if await self._legible(letter)]
        if not good:
            return
        events = [SessionEvent.model_validate_json(letter.body) for letter in good]
        try:
            receipt = await self._service.send_events(events)
        except ServiceRefused as refusal:
            if refusal.problem_status not in HOPELESS - {403}:
                raise
            if len(good) > 1:
                # One of them spoils the batch: find it by sending them singly.
                for letter in good:
                    await self._events([letter])
            else:
                await self._set_aside(good[0], refusal.problem_code, refusal.message)
            return
        refused = {str(entry.event_id): entry for entry in receipt.refused}
        for letter in good:
            if (entry := refused.get(letter.key)) is not None:
                await self._set_aside(letter, entry.code, entry.detail)
        await self._outbox.delivered([letter for letter in good if letter.key not in refused])

    async def _login(self, letter: Letter) -> None:
        if not await self._legible(letter):
            return
        record = LoginRecord.model_validate_json(letter.body)
        try:
            person = await self._service.record_login(record)
        except ServiceRefused as refusal:
            if refusal.problem_code == "account-disabled" and record.username:
                known = await self._outbox.person(record.username)
                if known is not None:
                    await self._outbox.save_person(known.model_copy(update={"disabled": True}))
            elif refusal.problem_status not in HOPELESS - {403}:
                raise
            await self._set_aside(letter, refusal.problem_code, refusal.message)
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
        await self._outbox.delivered([letter])

    async def _refusal(self, letter: Letter) -> None:
        if not await self._legible(letter):
            return
        try:
            await self._service.record_refusal(RefusalRecord.model_validate_json(letter.body))
        except ServiceRefused as refusal:
            if refusal.problem_status not in HOPELESS - {403}:
                raise
            await self._set_aside(letter, refusal.problem_code, refusal.message)
            return
        await self._outbox.delivered([letter])

    async def _legible(self, letter: Letter) -> bool:
        """Whether this version can read what an older one may have written."""
        try:
            MODELS[letter.topic].model_validate_json(letter.body)
        except ValidationError as error:
            await self._set_aside(letter, "illegible", str(error))
            return False
        return True

    async def _set_aside(self, letter: Letter, code: str, detail: str) -> None:
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
