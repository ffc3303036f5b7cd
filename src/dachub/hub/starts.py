"""Starts and ends of people's servers, as lines of the log that can be searched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum

from dachub.hub.clock import now
from dachub.model.logs import LogKind
from dachub.model.problems import DachubError
from dachub.model.sessions import EndReason, SessionDescription

log = logging.getLogger("dachub.hub.servers")


NOT_MEANT = frozenset({EndReason.EXITED, EndReason.LOST, EndReason.MACHINE_LOST})


class Action(StrEnum):
    """What happens to a server."""

    REFUSED = "server-refused"  # no session came to be
    REQUESTED = "server-requested"
    WAITING = "server-waiting-for-machine"
    VOLUME = "server-waiting-for-volume"
    IMAGE = "server-fetching-image"
    STARTED = "server-started"
    FAILED = "server-failed"
    ENDED = "server-ended"


def tell(action: Action, session: SessionDescription, *, step: str | None = None) -> None:
    """Log that a server is so far."""
    fields: dict[str, object] = {"dachub.session.step": step} if step else {}
    if action is Action.STARTED:
        seconds = max(0.0, (now() - session.requested_at).total_seconds())
        fields |= {"event.outcome": "success", "event.duration": int(seconds * 10**9)}
    _log(logging.INFO, action, session.username, fields | _of(session))


def tell_end(session: SessionDescription, reason: EndReason) -> None:
    """Log the end of a server that ran."""
    outcome = "failure" if reason in NOT_MEANT else "success"
    fields = {"event.reason": reason.value, "event.outcome": outcome}
    _log(logging.INFO, Action.ENDED, session.username, fields | _of(session))


def tell_failure(username: str, session: SessionDescription | None, error: Exception) -> None:
    """Log why a server did not start; without a session it was refused."""
    fields: dict[str, object] = {
        "event.outcome": "failure",
        "error.code": _code(error),
        "error.type": type(error).__name__,
        "error.message": str(error)[:1000],
    }
    if session is None:
        _log(logging.WARNING, Action.REFUSED, username, fields)
    else:
        _log(logging.WARNING, Action.FAILED, username, fields | _of(session))


def _code(error: BaseException) -> str:
    """The error's; where it only passes on, for people, what a part of ours met, that one's."""
    code = error.code if isinstance(error, DachubError) else "unexpected"
    cause = error.__cause__
    return cause.code if code == "start-failed" and isinstance(cause, DachubError) else code


def _of(session: SessionDescription) -> dict[str, object]:
    return {
        "dachub.session.id": str(session.session_id),
        "dachub.session.size": session.size,
        "dachub.session.environment": session.environment,
        "group.name": session.group,
    }


def _log(level: int, action: Action, username: str, fields: Mapping[str, object]) -> None:
    ecs = {
        "event.dataset": LogKind.SERVERS.dataset,
        "event.kind": "event",
        "event.action": action.value,
        "user.name": username,
        **fields,
    }
    why = fields.get("error.code") or fields.get("event.reason")
    log.log(
        level, "%s: %s%s", username, action.value, f" ({why})" if why else "", extra={"ecs": ecs}
    )
