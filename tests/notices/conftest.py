"""People with mailboxes, a real mail server, and the service's transactions."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from tests.server.realhub import free_port

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.people import LoginRecord
from dachub.notices.services import MailService, Postman
from dachub.notices.settings import MailSettings
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

OPERATOR = Principal("operator:tests", PrincipalKind.OPERATOR)
SENDER = "dac@observatory.example"
LOGIN = ("dac", "a-password-of-the-tests")


@dataclass
class Mailboxes:
    """What the mail server took, and how it behaves.

    Attributes
    ----------
    answers
        Address -> what it says to a mail there instead of taking it.
    on_mail
        Happens when a mail was taken, before that is said.
    """

    taken: list[Envelope] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)
    on_mail: Callable[[], None] | None = None

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Envelope, address: str, options: Any
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Envelope
    ) -> str:
        self.taken.append(envelope)
        if self.on_mail is not None:
            self.on_mail()
        return "250 OK"

    def authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = (data.login.decode(), data.password.decode()) == LOGIN
        self.logins.append(data.login.decode())
        return AuthResult(success=known, handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails as a person's program reads them."""
        return [
            message_from_bytes(envelope.content, policy=default)  # type: ignore[arg-type, misc]
            for envelope in self.taken
        ]

    @property
    def texts(self) -> list[str]:
        """What they say."""
        return [message.get_content().replace("\r\n", "\n") for message in self.messages]

    @property
    def recipients(self) -> list[str]:
        """Where each went."""
        return [", ".join(envelope.rcpt_tos) for envelope in self.taken]


@pytest.fixture
def mailboxes() -> Mailboxes:
    return Mailboxes()


@dataclass
class Server:
    """A mail server that can be taken away and given back."""

    controller: Callable[[], Controller]
    settings: MailSettings
    running: Controller | None = None

    def start(self) -> None:
        self.running = self.controller()
        self.running.start()

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


def _server(mailboxes: Mailboxes, settings: dict[str, object], **options: Any) -> Server:
    port = free_port()
    return Server(
        lambda: Controller(mailboxes, hostname="127.0.0.1", port=port, **options),
        MailSettings.model_validate(
            {"host": "127.0.0.1", "sender": SENDER, "port": port, **settings}
        ),
    )


@pytest.fixture
def server(mailboxes: Mailboxes) -> Iterator[Server]:
    """A mail server on this machine that asks nothing."""
    made = _server(mailboxes, {"security": "none"})
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the loopback address, and its key."""
    directory = tmp_path_factory.mktemp("mail-server")
    made = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=mail", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", made[0], "-keyout", made[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


@pytest.fixture
def secure_server(mailboxes: Mailboxes, certificate: tuple[Path, Path]) -> Iterator[Server]:
    """A mail server that takes mails over TLS from those with a password only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    made = _server(
        mailboxes,
        {"security": "starttls", "username": LOGIN[0], "ca_file": certificate[0]},
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=mailboxes.authenticate,
    )
    made.start()
    yield made
    made.stop()


@dataclass
class Site:
    """The service's process, and the postman of one of its replicas."""

    process: Process
    mail: MailSettings

    def postman(self, password: str | None = None, **changes: object) -> Postman:
        return Postman(
            self.mail.model_copy(update=changes),
            password,
            site="Survey DAC",
            portal_url="https://dac.example/services/dac/",
        )

    async def deliver(self) -> str:
        return await self.postman().deliver(self.mails)

    @property
    def mails(self) -> Callable[[], AbstractAsyncContextManager[MailService]]:
        @asynccontextmanager
        async def transaction() -> AsyncIterator[MailService]:
            async with self.process.factory() as services:
                yield services.mails()

        return transaction

    async def person(self, username: str, email: str, full_name: str = "") -> None:
        async with self.process.factory() as services:
            await services.logins().record(
                LoginRecord(
                    issuer="https://idp.example", subject=username, candidate=username,
                    full_name=full_name, email=email, at=self.process.clock.now(),
                )
            )  # fmt: skip


@pytest.fixture
async def site(database_url: str, clock: HeldClock, server: Server) -> AsyncIterator[Site]:
    """A site whose mails go to `server`, with ada, grace, and mary who has no address."""
    settings = Settings(mail=server.settings)
    process = Process(settings, create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    made = Site(process, server.settings)
    await made.person("ada", "ada@example.org", "Ada Lovelace")
    await made.person("grace", "grace@example.org")
    await made.person("mary", "")
    yield made
    await process.close()
