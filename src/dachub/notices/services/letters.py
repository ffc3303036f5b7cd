"""Mails as people read them: plain text, one person each."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from dachub.directory.services.text import clean
from dachub.notices.models import Letter, MailRefused

LINE_CHARACTERS = 76
NAME_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all mails of a site have in common.

    Attributes
    ----------
    portal_url
        Where the portal is, with a slash at its end.
    """

    site: str
    sender: str
    portal_url: str


def compose(letter: Letter, head: Letterhead) -> EmailMessage:
    """A mail; the same for every attempt.

    Raises
    ------
    MailRefused
        If the person's address is none that mail can be sent to.
    """
    notice = letter.notice
    message = EmailMessage(policy=SMTP)
    try:
        message["To"] = Address(
            clean(letter.full_name, NAME_MAX_CHARACTERS), addr_spec=letter.address
        )
        message["From"] = Address(clean(head.site, NAME_MAX_CHARACTERS), addr_spec=head.sender)
        message["Subject"] = f"[{clean(head.site, 60)}] {notice.title}"
    except (ValueError, IndexError, MessageError) as error:
        raise MailRefused(f"The address cannot be used: {error}.") from error
    domain = head.sender.rpartition("@")[2]
    message["Date"] = format_datetime(notice.created_at)
    message["Message-ID"] = f"<notice-{notice.notice_id}-{notice.created_at:%Y%m%d%H%M%S}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no holiday replies (RFC 3834)
    message.set_content(_text(letter, head))
    return message


def _text(letter: Letter, head: Letterhead) -> str:
    notice = letter.notice
    greeting = f"Dear {letter.full_name or notice.username},"
    more = f"More: {head.portal_url}{notice.path or 'notices'}"
    foot = (
        f"{head.site} sent this to {notice.username}. "
        f"Choose what you get by e-mail: {head.portal_url}notices#preferences-heading"
    )
    paragraphs = [greeting, f"{notice.title}.", *notice.text.splitlines(), more]
    body = "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs if paragraph)
    return f"{body}\n\n-- \n{_wrapped(foot)}\n"


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)
