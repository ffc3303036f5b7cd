"""Errors of the client; in a notebook they show their message, not a page of traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from dachub.model.problems import Problem


class ClientError(Exception):
    """Base of the client's errors; no ``DachubError``, whose module would triple the import time.

    Attributes
    ----------
    code
        Stable, machine-readable.
    message
        What happened, why, and what to do.
    """

    code: ClassVar[str] = "client-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def _render_traceback_(self) -> list[str]:
        """Tell IPython what to show: the message alone says what to do."""
        return [f"{type(self).__name__}: {self.message}"]


class NotConfigured(ClientError):
    """No address or no token is known."""

    code = "not-configured"


class NotInASession(ClientError):
    """The program does not run in a server of the platform."""

    code = "not-in-a-session"


class BadRequest(ClientError):
    """An argument cannot be understood; nothing was sent."""

    code = "bad-request"


class ServiceUnreachable(ClientError):
    """The service does not answer, or says that it cannot at the moment."""

    code = "unreachable"


class BadAnswer(ClientError):
    """What answered is not the service, or not one that this client understands."""

    code = "bad-answer"


class RequestRefused(ClientError):
    """The service refused; ``problem`` has its code and status.

    Attributes
    ----------
    problem
        What the service said; ``problem.code`` is stable.
    """

    code = "request-refused"

    def __init__(self, message: str, problem: Problem) -> None:
        super().__init__(message)
        self.problem = problem
