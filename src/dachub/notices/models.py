"""Plain values of notices and mails."""

from __future__ import annotations

from dataclasses import dataclass

from dachub.model.notices import Notice
from dachub.model.problems import DachubError, Unavailable


class MailRefused(DachubError):
    """The mail server will never take this mail."""

    code = "mail-refused"


class MailPutOff(DachubError):
    """The mail server does not take this mail at present; others it may."""

    code = "mail-put-off"


class MailServerAway(Unavailable):
    """The mail server does not take mails at present, or not from us."""

    code = "mail-server-away"


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way to a person's mailbox.

    Attributes
    ----------
    attempts
        How often it was tried, with this time.
    """

    notice: Notice
    full_name: str
    address: str
    attempts: int


@dataclass(frozen=True, slots=True)
class MailCounts:
    """How many mails wait to be sent, and how many were given up."""

    pending: int = 0
    failed: int = 0
