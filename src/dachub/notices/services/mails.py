"""Which mails are due, and what became of them.

A mail is taken by putting it off: until what became of it is noted, it comes up again after a
while. So whoever dies with it in hand loses nothing, and several replicas never hold the same one.
Dying between the mail server's answer and our note is the one point where a mail goes out twice;
both copies carry the same Message-ID, by which mail programs know them for one.
"""

from __future__ import annotations

from datetime import timedelta

from dachub.directory.services import PeopleService
from dachub.infra.clock import Clock
from dachub.model.problems import NotFound
from dachub.notices.models import Letter, MailCounts
from dachub.notices.store.mails import MailStore

ATTEMPTS_MAX = 80
"""About three days; counted, so that no clock that jumps gives anything up."""
FIRST_PAUSE_SECONDS = 300
"""Longer than a worker's run can last."""
PAUSE_SECONDS_MAX = 3600
ERROR_MAX_CHARACTERS = 500


class MailService:
    """Hands out mails and keeps what became of them."""

    def __init__(self, store: MailStore, people: PeopleService, clock: Clock) -> None:
        self._store = store
        self._people = people
        self._clock = clock

    async def take(self) -> Letter | None:
        """The next mail to be sent; those to people without an address are skipped for good."""
        now = self._clock.now()
        while due := await self._store.due(now, now + timedelta(seconds=PAUSE_SECONDS_MAX)):
            notice, attempts = due
            try:
                person = await self._people.person(notice.username)
            except NotFound:
                person = None
            if person is None or person.disabled_at is not None or not person.email:
                await self._store.settle(notice.notice_id, "skipped", "no address")
                continue
            pause = timedelta(seconds=pause_seconds(attempts))
            await self._store.put_off(notice.notice_id, now + pause, attempts + 1)
            return Letter(notice, person.full_name, person.email, attempts + 1)
        return None

    async def sent(self, letter: Letter) -> None:
        """Note that the mail server has taken a mail."""
        await self._store.settle(letter.notice.notice_id, "sent")

    async def refused(self, letter: Letter, why: str) -> None:
        """Note that a mail will never be taken."""
        await self._store.settle(letter.notice.notice_id, "failed", why[:ERROR_MAX_CHARACTERS])

    async def not_sent(self, letter: Letter, why: str) -> None:
        """Note why a mail was not taken this time; the last attempt gives it up."""
        if letter.attempts >= ATTEMPTS_MAX:
            await self.refused(letter, why)
        else:
            await self._store.explain(letter.notice.notice_id, why[:ERROR_MAX_CHARACTERS])

    async def counts(self) -> MailCounts:
        """How many wait and how many were given up; asks nobody's rights."""
        return await self._store.counts()


def pause_seconds(attempts: int) -> int:
    """How long to wait after so many attempts."""
    return min(FIRST_PAUSE_SECONDS << min(attempts, 10), PAUSE_SECONDS_MAX)
