"""The report to the funder: figures of a period, without names of people."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, Field

from dachub.model.awards import AwardStanding
from dachub.model.usage import AllocationRecord, Usage


class ReportRow(Usage):
    """What one part of the service used in the period."""

    name: str
    title: str = ""
    people: int = Field(default=0, description="Who used something; 0 where it is not counted")


class ReportPeriod(Usage):
    """The service as a whole in one period, for the trend."""

    title: str
    since: datetime
    until: datetime
    people: int
    groups: int


class StoredRow(BaseModel):
    """What a kind of place, or a group's folder, held at the end of the last day measured."""

    name: str
    places: int
    bytes: int
    allocated_bytes: int
    files: int


class StorageDay(BaseModel):
    """What everybody held together on a day."""

    day: date
    allocated_bytes: int


class FunderReport(BaseModel):
    """All figures of the report; tables add up to the totals."""

    site: str
    title: str
    since: datetime
    until: datetime
    counted_to: datetime = Field(description="Before ``until`` while the period goes on")
    made_at: datetime
    total: Usage
    sessions: int = Field(description="That ran in the period, for however short a part of it")
    people: int
    months: list[ReportRow]
    groups: list[ReportRow]
    institutions: list[ReportRow]
    sizes: list[ReportRow]
    environments: list[ReportRow]
    kinds: list[ReportRow]
    trend: list[ReportPeriod] = Field(description="The periods before, then this one")
    allocations: list[AllocationRecord] = Field(description="That overlap the period")
    awards: list[AwardStanding]
    stored: list[StoredRow]
    stored_on: date | None = Field(default=None, description="The last day with measurements")
    storage_days: list[StorageDay] = []
