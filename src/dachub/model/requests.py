"""Requests for more than a group was given, or than a member of it may use."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from dachub.model.usage import Resource


class RequestState(StrEnum):
    """What became of a request; all but the first are for ever."""

    OPEN = "open"
    GRANTED = "granted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class AllocationRequest(BaseModel):
    """Somebody asks for more of a resource, for their group or of their own limit in it."""

    request_id: int
    group: str
    resource: Resource
    amount: int = Field(description="Asked for, in base units")
    own_limit: bool = Field(
        default=False, description="Asks for a higher limit of their own, not for the group"
    )
    reason: str
    username: str = Field(description="Who asks")
    created_at: datetime
    state: RequestState
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str = ""
    granted: int | None = Field(default=None, description="In base units, where it was granted")
    allocation_id: int | None = Field(default=None, description="The allocation that grew by it")
