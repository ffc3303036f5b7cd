"""Mails: one a notice, to a real SMTP server, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.notices.conftest import LOGIN, OPERATOR, SENDER, Mailboxes, Server, Site

from dachub.config import ConfigurationError, Settings, smtp_password
from dachub.infra.clock import HeldClock
from dachub.model.notices import NoticeKind, NoticePreference, Severity
from dachub.notices.models import MailServerAway
from dachub.notices.services import MailService, mails, postman
from dachub.notices.services.mails import ATTEMPTS_MAX, FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX
from dachub.notices.settings import MailSettings

TEXT = """\
Of its 1,000 core-hours the group has used 750; at the present pace the rest lasts until 3 April.

Ask Ada Lovelace (PI) for more."""


async def tell(site: Site, *usernames: str, key: str = "quota/1/75", **changes: object) -> None:
    async with site.process.factory() as services:
        given = {
            "kind": NoticeKind.QUOTA,
            "severity": Severity.WARNING,
            "title": "Weak lensing: three quarters used",
            "text": TEXT,
            "group": "lensing",
            "path": "groups/lensing",
            **changes,
        }
        await services.notices().give(usernames, key=key, **given)  # type: ignore[arg-type]


async def counts(site: Site) -> tuple[int, int]:
    async with site.mails() as mails:
        found = await mails.counts()
    return found.pending, found.failed


async def test_a_notice_becomes_a_mail_that_reads_well(site: Site, mailboxes: Mailboxes) -> None:
    await tell(site, "ada")
    assert await site.deliver() == "1 sent"
    (mail,) = mailboxes.messages
    assert mailboxes.recipients == ["ada@example.org"]
    assert mailboxes.taken[0].mail_from == SENDER
    assert mail["Subject"] == "[Survey DAC] Weak lensing: three quarters used"
    assert str(mail["From"]) == f"Survey DAC <{SENDER}>"
    assert str(mail["To"]) == "Ada Lovelace <ada@example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mailboxes.texts == [
        f"""\
Dear Ada Lovelace,

Weak lensing: three quarters used.

Of its 1,000 core-hours the group has used 750; at the present pace the rest
lasts until 3 April.

Ask Ada Lovelace (PI) for more.

More: https://dac.example/services/dac/groups/lensing

--{" "}
Survey DAC sent this to ada. Choose what you get by e-mail:
https://dac.example/services/dac/notices#preferences-heading
"""
    ]
    assert await site.deliver() == "nothing due"
    assert await counts(site) == (0, 0)


async def test_who_has_no_address_or_is_disabled_is_skipped(
    site: Site, mailboxes: Mailboxes
) -> None:
    await tell(site, "mary", "grace", "unknown-to-the-directory", "ada")
    async with site.process.factory() as services:
        await services.people().disable(OPERATOR, "grace", "left")
    assert await site.deliver() == "1 sent"
    assert mailboxes.recipients == ["ada@example.org"]
    assert await counts(site) == (0, 0)


async def test_people_choose_by_kind_how_they_are_told(site: Site, mailboxes: Mailboxes) -> None:
    async with site.process.factory() as services:
        ada = await services.people().principal("ada")
        grace = await services.people().principal("grace")
        quota = NoticeKind.QUOTA
        await services.notices().prefer(ada, NoticePreference(kind=quota, email=False))
        await services.notices().prefer(grace, NoticePreference(kind=quota, portal=False))
    await tell(site, "ada", "grace")
    await tell(site, "ada", key="stop/1", kind=NoticeKind.STOP)
    await site.deliver()
    assert mailboxes.recipients == ["grace@example.org", "ada@example.org"]
    async with site.process.factory() as services:
        assert len(await services.notices().unread("ada")) == 2
        assert await services.notices().unread("grace") == []


async def test_what_was_told_before_mails_were_sent_is_not_mailed_later(
    site: Site, mailboxes: Mailboxes
) -> None:
    with_mail, site.process.settings = site.process.settings, Settings()
    await tell(site, "ada")
    site.process.settings = with_mail
    assert await site.deliver() == "nothing due"
    assert mailboxes.taken == []


async def test_mails_wait_while_the_server_is_away(
    site: Site, server: Server, mailboxes: Mailboxes, clock: HeldClock
) -> None:
    await tell(site, "ada", "grace")
    server.stop()
    for _ in range(2):
        with pytest.raises(MailServerAway):
            await site.deliver()
    assert await counts(site) == (2, 0)
    server.start()
    assert await site.deliver() == "nothing due"
    clock.advance(timedelta(seconds=FIRST_PAUSE_SECONDS))
    assert await site.deliver() == "2 sent"
    assert sorted(mailboxes.recipients) == ["ada@example.org", "grace@example.org"]


async def test_a_slow_server_gets_the_rest_at_the_next_run(
    site: Site, mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(site, "ada", "grace")
    monkeypatch.setattr(postman, "RUN_SECONDS", 0)
    assert [await site.deliver() for _ in range(3)] == [
        "1 sent", "1 sent", "nothing due",
    ]  # fmt: skip
    assert len(mailboxes.taken) == 2


async def test_what_is_refused_for_good_is_not_tried_again(
    site: Site, mailboxes: Mailboxes, clock: HeldClock
) -> None:
    mailboxes.answers["ada@example.org"] = "550 no such mailbox"
    await tell(site, "ada", "grace")
    assert await site.deliver() == "1 refused, 1 sent"
    clock.advance(timedelta(days=1))
    mailboxes.answers.clear()
    assert await site.deliver() == "nothing due"
    assert mailboxes.recipients == ["grace@example.org"]
    assert await counts(site) == (0, 1)


async def test_what_is_refused_for_now_is_tried_again_for_days_and_then_given_up(
    site: Site, mailboxes: Mailboxes, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (ATTEMPTS_MAX - 1) * PAUSE_SECONDS_MAX > 3 * 24 * 3600
    attempts_max = 8  # all after the first few are alike
    monkeypatch.setattr(mails, "ATTEMPTS_MAX", attempts_max)
    mailboxes.answers["ada@example.org"] = "451 greylisted"
    await tell(site, "ada")
    await tell(site, "grace")
    assert await site.deliver() == "1 put off, 1 sent"
    clock.advance(timedelta(seconds=PAUSE_SECONDS_MAX))
    for attempt in range(attempts_max - 1):
        assert await counts(site) == (1, 0), attempt
        assert await site.deliver() == "1 put off"
        assert await site.deliver() == "nothing due"  # not at once
        clock.advance(timedelta(seconds=PAUSE_SECONDS_MAX))
    assert await counts(site) == (0, 1)


async def test_killed_before_sending_nothing_is_lost(
    site: Site, mailboxes: Mailboxes, clock: HeldClock
) -> None:
    await tell(site, "ada")
    async with site.mails() as mails:
        assert await mails.take() is not None
    assert await site.deliver() == "nothing due"
    clock.advance(timedelta(seconds=FIRST_PAUSE_SECONDS))
    assert await site.deliver() == "1 sent"
    assert len(mailboxes.taken) == 1


async def test_killed_between_sending_and_noting_both_copies_are_one_mail(
    site: Site, mailboxes: Mailboxes, clock: HeldClock
) -> None:
    await tell(site, "ada")

    @asynccontextmanager
    async def dying() -> AsyncIterator[MailService]:
        async with site.mails() as mails:
            if mailboxes.taken:
                raise KeyboardInterrupt
            yield mails

    with pytest.raises(KeyboardInterrupt):
        await site.postman().deliver(dying)
    clock.advance(timedelta(seconds=FIRST_PAUSE_SECONDS))
    assert await site.deliver() == "1 sent"
    first, second = mailboxes.taken
    assert first.content == second.content
    assert mailboxes.messages[0]["Message-ID"].endswith("@observatory.example>")
    assert await site.deliver() == "nothing due"


async def test_replicas_send_every_mail_once(site: Site, mailboxes: Mailboxes) -> None:
    for number in range(12):
        await tell(site, "ada", "grace", key=f"quota/{number}")
    await asyncio.gather(*(site.deliver() for _ in range(3)))
    assert len(mailboxes.taken) == 24
    assert len({mail["Message-ID"] for mail in mailboxes.messages}) == 24


async def test_a_clock_that_ran_ahead_holds_no_mail_back(
    site: Site, mailboxes: Mailboxes, clock: HeldClock
) -> None:
    clock.advance(timedelta(days=400))
    await tell(site, "ada")
    clock.advance(timedelta(days=-400))
    assert await site.deliver() == "1 sent"


@pytest.mark.parametrize(
    "address",
    ["eve@example.org\r\nBcc: all@example.org", "eve@example.org, all@example.org", "eve", "<>"],
)
async def test_no_address_reaches_others(site: Site, mailboxes: Mailboxes, address: str) -> None:
    await site.person("eve", address)
    await tell(site, "eve")
    sent = await site.deliver()
    assert sent in ("1 refused", "nothing due")
    assert mailboxes.taken == []


async def test_names_and_titles_add_no_headers(site: Site, mailboxes: Mailboxes) -> None:
    await site.person("eve", "eve@example.org", 'Eve" <all@example.org>\r\nBcc: x@example.org')
    await tell(
        site, "eve", title="Hello\r\nBcc: all@example.org\n\nbody", text="a\r\n.\r\nQUIT\r\nb"
    )
    assert await site.deliver() == "1 sent"
    (mail,) = mailboxes.messages
    assert mailboxes.recipients == ["eve@example.org"]
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[Survey DAC] Hello Bcc: all@example.org body"
    assert [one.addr_spec for one in mail["To"].addresses] == ["eve@example.org"]
    assert "\n\n.\n\nQUIT\n\nb\n" in mailboxes.texts[0]


async def test_all_letters_arrive(site: Site, mailboxes: Mailboxes) -> None:
    await site.person("soren", "soren@example.org", "Søren Ångström")
    await tell(site, "soren", title="Étoiles: 星を見る", text="Größe: 5 GiB – naïve 天文学.")
    await site.deliver()
    (mail,) = mailboxes.messages
    assert mail["Subject"] == "[Survey DAC] Étoiles: 星を見る"
    assert str(mail["To"]) == "Søren Ångström <soren@example.org>"
    assert "Größe: 5 GiB – naïve 天文学." in mailboxes.texts[0]


async def test_mails_go_over_tls_with_a_login(
    site: Site, secure_server: Server, mailboxes: Mailboxes
) -> None:
    site.mail = secure_server.settings
    await tell(site, "ada")
    assert await site.postman(LOGIN[1]).deliver(site.mails) == "1 sent"
    assert mailboxes.logins == ["dac"]


async def test_a_server_that_nobody_vouches_for_gets_neither_password_nor_mail(
    site: Site, secure_server: Server, mailboxes: Mailboxes
) -> None:
    site.mail = secure_server.settings
    await tell(site, "ada")
    with pytest.raises(MailServerAway, match="certificate"):
        await site.postman(LOGIN[1], ca_file=None).deliver(site.mails)
    assert (mailboxes.logins, mailboxes.taken) == ([], [])


async def test_a_wrong_password_is_the_sites_fault_not_the_mails(
    site: Site, secure_server: Server, mailboxes: Mailboxes
) -> None:
    site.mail = secure_server.settings
    await tell(site, "ada")
    with pytest.raises(MailServerAway):
        await site.postman("wrong").deliver(site.mails)
    assert await counts(site) == (1, 0)


def test_a_password_is_never_sent_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="needs security"):
        MailSettings(host="mail.example", sender=SENDER, security="none", username="dac")


@pytest.mark.parametrize("sender", ["dac", "@x", "a@", "a@b, c@d", "a@b\nBcc: c@d", "<a@b>", ""])
def test_the_sender_is_one_address(sender: str) -> None:
    with pytest.raises(ValidationError, match="no address"):
        MailSettings(host="mail.example", sender=sender)


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    mail = MailSettings(host="mail.example", sender=SENDER, username="dac")
    with pytest.raises(ConfigurationError, match="DACHUB_SMTP_PASSWORD"):
        smtp_password(Settings(mail=mail), {})
    assert smtp_password(Settings(mail=mail), {"DACHUB_SMTP_PASSWORD": "x"}) == "x"
    file = tmp_path / "password"
    file.write_text("from the file\n")
    with_file = mail.model_copy(update={"password_file": file})
    assert smtp_password(Settings(mail=with_file), {}) == "from the file"
    assert smtp_password(Settings(), {}) is None
