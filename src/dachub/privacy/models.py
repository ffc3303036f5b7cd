"""Plain values of privacy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field

from dachub.model.problems import Conflict


class BeingForgotten(Conflict):
    """The person is about to be forgotten already."""

    code = "being-forgotten"


class ForgettingAsked(BaseModel):
    """Somebody will be forgotten as soon as nothing of theirs runs any more."""

    username: str
    delete_home: bool
    sent: dict[str, int] = Field(
        description="Format -> records about the person that were sent to others, where they stay"
    )


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Somebody who is to be forgotten.

    Attributes
    ----------
    ready
        Whether the hub has ended everything of the person, so that it can be done.
    """

    username: str
    asked_by: str
    asked_at: datetime
    reason: str
    delete_home: bool
    ready: bool
