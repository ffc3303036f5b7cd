"""Plain values of exports: what is to be sent, and what was."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from dachub.model.exports import ExportFormat, ReconciliationLine
from dachub.model.problems import Conflict, DachubError

COMPLETED, STARTED = "completed", "started"
"""Status of what was sent of a session: to its end, or while it ran on."""


class InvalidRecord(DachubError):
    """A line or record that the consumer would refuse, lose or misread: nothing is written."""

    code = "export-record-invalid"
    status = 500


class ExportDisagrees(DachubError):
    """An export that does not add up to what the ledger says: nothing is written."""

    code = "export-disagrees"
    status = 500


class ExportUnfinished(Conflict):
    """An earlier export of this format was prepared, but not finished."""

    code = "export-unfinished"


class ExportRunning(Conflict):
    """Another export runs at this moment."""

    code = "export-running"


class OutputExists(Conflict):
    """There is a file at the destination that this export did not write."""

    code = "output-exists"


class OutputFailed(DachubError):
    """The file could not be written: a full disk, no right, no such directory."""

    code = "output-failed"
    status = 507


@dataclass(frozen=True, slots=True)
class Item:
    """What was sent of a session.

    Attributes
    ----------
    month
        First day of the month that it counts for.
    status
        :data:`COMPLETED` or :data:`STARTED`.
    measured_at
        The end, or up to when it was measured.
    seconds, milli_core_seconds
        From the start to there, as sent.
    """

    session_id: UUID
    month: date
    status: str
    started_at: datetime
    measured_at: datetime
    seconds: int
    milli_core_seconds: int
    sha256: str
    run_id: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of a file, without directory in its name, and what was sent of sessions.

    The pieces of a file follow each other; so do the files.
    """

    file: str
    content: bytes
    items: Sequence[Item] = ()


@dataclass(slots=True)
class Draft:
    """What is to be said of an export; it is whole once its last :class:`Piece` was made."""

    format: ExportFormat
    since: datetime
    until: datetime
    records: int = 0
    milli_core_seconds: int = 0
    exported_milli_core_seconds: int = 0
    not_final: int = 0
    sent_before: int = 0
    reconciliation: list[ReconciliationLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
