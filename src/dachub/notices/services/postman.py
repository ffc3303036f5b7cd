"""Brings the mails that are due to the mail server."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from dachub.notices.models import MailPutOff, MailRefused, MailServerAway
from dachub.notices.services.letters import Letterhead, compose
from dachub.notices.services.mails import MailService
from dachub.notices.settings import MailSettings
from dachub.notices.store.smtp import MailServer, Send

RUN_SECONDS = 20
"""After that no further mail is taken, so that a run ends before the worker would be stopped."""


class Postman:
    """Sends mails, one after the other."""

    def __init__(
        self, settings: MailSettings, password: str | None, *, site: str, portal_url: str
    ) -> None:
        self._server = MailServer(settings, password)
        self._head = Letterhead(site, settings.sender, portal_url)

    async def deliver(
        self, transaction: Callable[[], AbstractAsyncContextManager[MailService]]
    ) -> str:
        """Send what is due: a transaction to take each mail, one to note what became of it.

        Raises
        ------
        MailServerAway
            If the server takes no mails at present; the rest stays due.
        """
        outcomes: Counter[str] = Counter()
        send: Send | None = None
        ends_at = time.monotonic() + RUN_SECONDS
        async with AsyncExitStack() as connection:
            while not outcomes or time.monotonic() < ends_at:
                async with transaction() as mails:
                    letter = await mails.take()
                if letter is None:
                    break
                try:
                    message = compose(letter, self._head)
                    if send is None:
                        send = await connection.enter_async_context(self._server.connected())
                    await send(message, letter.address)
                except MailRefused as error:
                    async with transaction() as mails:
                        await mails.refused(letter, error.message)
                    outcomes["refused"] += 1
                except (MailPutOff, MailServerAway) as error:
                    async with transaction() as mails:
                        await mails.not_sent(letter, error.message)
                    if isinstance(error, MailServerAway):
                        raise
                    outcomes["put off"] += 1
                else:
                    async with transaction() as mails:
                        await mails.sent(letter)
                    outcomes["sent"] += 1
        return ", ".join(f"{count} {what}" for what, count in outcomes.items()) or "nothing due"
