"""Plain values of privacy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dachub.model.problems import Conflict


class BeingForgotten(Conflict):
    """The person is about to be forgotten already."""

    code = "being-forgotten"


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
