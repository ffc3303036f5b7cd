"""What was handed to the accounting systems above us."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class ExportFormat(StrEnum):
    """What a file is, and for whom."""

    XDMOD_JOBS = "xdmod-jobs"
    XDMOD_STORAGE = "xdmod-storage"
    XDMOD_NAMES = "xdmod-names"
    XDMOD_HIERARCHY = "xdmod-hierarchy"
    APEL_CLOUD = "apel-cloud"
    APEL_STORAGE = "apel-storage"


class ExportFile(BaseModel):
    """A file of an export."""

    name: str
    size_bytes: int
    sha256: str = Field(description="Of its content, in hexadecimal")


class ExportRun(BaseModel):
    """An export; ``prepared`` ones were not finished: repeating the command finishes them."""

    run_id: int
    format: ExportFormat
    since: datetime
    until: datetime
    state: Literal["prepared", "done"]
    destination: str = Field(description="Directory of the files")
    files: list[ExportFile] = []
    records: int = Field(description="Lines or records in the files")
    milli_core_seconds: int = Field(default=0, description="Of its sessions, exactly")
    exported_milli_core_seconds: int = Field(default=0, description="As the format can say it")
    prepared_at: datetime
    prepared_by: str
    done_at: datetime | None = None


class ReconciliationLine(BaseModel):
    """One step from what was used in a period to what was exported."""

    title: str
    sessions: int | None = None
    milli_core_seconds: int


class ExportOutcome(BaseModel):
    """An export as it ended, and how it agrees with the ledger."""

    run: ExportRun | None = Field(description="None where there was nothing to send")
    finished_earlier_run: bool = Field(
        default=False, description="It had been prepared before and was only written now"
    )
    not_final: int = Field(default=0, description="Sessions that may still change; export later")
    sent_before: int = Field(default=0, description="Sessions left out because they were sent")
    reconciliation: list[ReconciliationLine] = []
    notes: list[str] = Field(default=[], description="What to know or to do, in words")


class ExportDifference(BaseModel):
    """A session that is not, or no longer, what was sent."""

    session_id: UUID
    export_id: int | None = Field(description="The job's number; None if the session is gone")
    run_id: int
    sent_started_at: datetime
    sent_ended_at: datetime
    sent_milli_core_seconds: int
    started_at: datetime | None
    ended_at: datetime | None
    milli_core_seconds: int
    reason: str
