"""Errors that reach people and programs: a stable code, a status, a message (RFC 9457)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel


class Problem(BaseModel):
    """Body of an ``application/problem+json`` answer."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None


class DachubError(Exception):
    """Base of every error we raise on purpose.

    Attributes
    ----------
    code
        Stable, machine-readable; programs may rely on it.
    status
        HTTP status where the error crosses HTTP.
    message
        What happened, why, and what to do; shown to the person.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(DachubError):
    """The request cannot be understood."""

    code = "invalid-input"
    status = 422


class NotFound(DachubError):
    """There is no such thing, or the caller may not know of it."""

    code = "not-found"
    status = 404


class PermissionDenied(DachubError):
    """The caller may not do this."""

    code = "permission-denied"
    status = 403


class Conflict(DachubError):
    """The request contradicts what is."""

    code = "conflict"
    status = 409


class Unavailable(DachubError):
    """A part we need does not answer; try again later."""

    code = "unavailable"
    status = 503


class ChoiceRefused(DachubError):
    """A server may not be started as asked; the message is for the person."""

    code = "choice-refused"
    status = 403
