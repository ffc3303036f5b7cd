"""The site's mail server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage

import aiosmtplib

from dachub.notices.models import MailPutOff, MailRefused, MailServerAway
from dachub.notices.settings import MailSettings

CONNECT_SECONDS = 20
SEND_SECONDS = 60
QUIT_SECONDS = 5
PERMANENT = range(500, 600)

Send = Callable[[EmailMessage, str], Awaitable[None]]


class MailServer:
    """Speaks SMTP; a connection for many mails."""

    def __init__(self, settings: MailSettings, password: str | None) -> None:
        self._settings = settings
        self._password = password

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Send]:
        """Give what sends a message to one address, while the connection lasts.

        Raises
        ------
        MailServerAway
            If it does not answer, does not let us in, or has no valid certificate; by sending
            too. That also raises :class:`MailPutOff` and :class:`MailRefused`.
        """
        try:
            client = self._client()
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._away(error) from error
        try:
            yield lambda message, address: self._send(client, message, address)
        finally:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=QUIT_SECONDS)
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        given = self._settings
        context = None
        if given.security != "none":
            context = ssl.create_default_context(cafile=given.ca_file)
        return aiosmtplib.SMTP(
            hostname=given.host,
            port=given.port,
            username=given.username,
            password=self._password if given.username else None,
            use_tls=given.security == "tls",
            start_tls=given.security == "starttls",
            tls_context=context,
            timeout=SEND_SECONDS,
        )

    async def _send(self, client: aiosmtplib.SMTP, message: EmailMessage, address: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await client.send_message(
                    message, sender=self._settings.sender, recipients=[address]
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _not_taken(error.recipients[0]) from error
        except aiosmtplib.SMTPDataError as error:
            raise _not_taken(error) from error
        except aiosmtplib.SMTPNotSupported as error:
            # An address beyond ASCII, which this server cannot handle.
            raise MailRefused(f"The mail server cannot send it: {error}.") from error
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> MailServerAway:
        return MailServerAway(
            f"The mail server {self._settings.host}:{self._settings.port} takes no mails: {error}"
        )


def _not_taken(answer: aiosmtplib.SMTPResponseException) -> MailRefused | MailPutOff:
    kind = MailRefused if answer.code in PERMANENT else MailPutOff
    return kind(f"The mail server answered {answer.code} {answer.message}")
