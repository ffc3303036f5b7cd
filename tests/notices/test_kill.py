"""The whole service, killed for real in the one moment where a mail can go out twice."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import psycopg
import pytest
from tests.harness.waiting import until
from tests.notices.conftest import Mailboxes, Server, Site
from tests.notices.test_mails import tell
from tests.server.service import Service

pytestmark = pytest.mark.kill


async def test_a_service_killed_after_the_mail_was_taken_sends_the_same_mail_again(
    site: Site, server: Server, mailboxes: Mailboxes, database_url: str, tmp_path: Path
) -> None:
    host, port = server.settings.host, server.settings.port
    mail = f"mail: {{host: {host}, port: {port}, security: none, sender: dac@observatory.example}}"
    service = Service(tmp_path, database_url, settings=mail)
    await tell(site, "ada")

    def kill() -> None:
        assert service.process is not None
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(timeout=30)
        mailboxes.on_mail = None

    mailboxes.on_mail = kill
    service.start()
    try:
        await asyncio.to_thread(until, lambda: len(mailboxes.taken) == 1, "the mail is sent", 40)
        with psycopg.connect(database_url, autocommit=True) as connection:
            row = "select mail_state, mail_attempts from notice"
            assert connection.execute(row).fetchall() == [("pending", 1)]
            # Five minutes later:
            connection.execute("update notice set mail_due_at = now()")
            service.start()
            await asyncio.to_thread(
                until, lambda: len(mailboxes.taken) == 2, "it is sent again", 40
            )
            await asyncio.to_thread(
                until,
                lambda: connection.execute(row).fetchall() == [("sent", 2)],
                "the second time is noted",
            )
        first, second = mailboxes.taken
        assert first.content == second.content
    finally:
        service.stop()
