"""Brings the mails that are due to the mail server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from dachub.notices.models import MailRefused, MailServerAway
from dachub.notices.services.letters import Letterhead, compose
from dachub.notices.services.mails import MailService
from dachub.notices.settings import MailSettings
from dachub.notices.store.smtp import MailServer, Send

MAILS_PER_RUN = 200


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
        sent = refused = 0
        send: Send | None = None
        async with AsyncExitStack() as connection:
            for _ in range(MAILS_PER_RUN):
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
                    refused += 1
                except MailServerAway as error:
                    async with transaction() as mails:
                        await mails.not_sent(letter, error.message)
                    raise
                else:
                    async with transaction() as mails:
                        await mails.sent(letter)
                    sent += 1
        return f"{sent} sent, {refused} refused"
