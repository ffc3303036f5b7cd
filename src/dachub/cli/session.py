"""``dachub session``: what ran, when, for whom, what it is charged, and corrections of that."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated
from uuid import UUID

import typer

from dachub.cli.options import (
    DataOption,
    GroupOption,
    JsonOption,
    LimitOption,
    SinceOption,
    UntilOption,
    UserOption,
    moment,
)
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.sessions import Correction, SessionRecord

app = typer.Typer(help="Sessions of the ledger.", no_args_is_help=True)


class State(StrEnum):
    """Where a session is in its life."""

    REQUESTED = "requested"
    RUNNING = "running"
    ENDED = "ended"


LIST: Columns[SessionRecord] = {
    "session": lambda session: session.session_id,
    "username": lambda session: session.username,
    "group": lambda session: session.group,
    "size": lambda session: session.size,
    "state": lambda session: session.state,
    "started": lambda session: session.started_at,
    "ended": lambda session: session.ended_at,
    "estimate": lambda session: session.end_is_estimate,
    "core-seconds": lambda session: session.core_seconds,
}
STOPS: Columns[SessionRecord] = {
    "session": lambda session: session.session_id,
    "username": lambda session: session.username,
    "will stop": lambda session: session.stop_due_at,
    "because": lambda session: session.stop_due_reason,
}
DETAILS: Columns[SessionRecord] = {
    **{name: attrgetter(name) for name in SessionRecord.model_fields},
    "correction": lambda session: session.correction and session.correction.reason,
}
CORRECTIONS: Columns[Correction] = {
    "at": lambda correction: correction.at,
    "by": lambda correction: correction.author,
    "action": lambda correction: correction.action.value,
    "start": lambda correction: correction.started_at,
    "end": lambda correction: correction.ended_at,
    "reason": lambda correction: correction.reason,
}
Session = Annotated[UUID, typer.Argument(metavar="SESSION", help="Its uuid.")]
Sessions = Annotated[list[UUID], typer.Argument(metavar="SESSION...", help="Their uuids.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept for ever.")]


@app.command("list")
def list_sessions(
    username: UserOption = None,
    group: GroupOption = None,
    state: Annotated[State | None, typer.Option("--state", help="Only in this state.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions, newest first."""
    sessions = operate(
        data,
        lambda factory, by: factory.sessions().list(
            by,
            username=username,
            group=group,
            state=None if state is None else state.value,
            since=since,
            until=until,
            limit=limit,
        ),
    )
    print_list(sessions, LIST, as_json=as_json, empty="No sessions.")


@app.command("show")
def show(
    session_id: Session,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a session as the ledger has it."""
    session = operate(data, lambda factory, by: factory.sessions().show(by, session_id))
    print_one(session, DETAILS, as_json=as_json)


@app.command("announce-stop")
def announce_stop(
    session_ids: Sessions,
    at: Annotated[
        datetime,
        typer.Option("--at", parser=moment, metavar="TIME", help="Stopped then (UTC)."),
    ],
    because: Annotated[str, typer.Option("--because", help="What people are told of why.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have sessions stopped because their machine is taken out of service; people are told."""
    found = operate(
        data,
        lambda factory, by: factory.maintenance().announce(by, session_ids, at, because),
    )
    print_list(found, STOPS, as_json=as_json, empty="All have ended.")


@app.command("withdraw-stop")
def withdraw_stop(
    session_ids: Sessions, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Let sessions go on that were to be stopped for their machine's sake; people are told."""
    found = operate(data, lambda factory, by: factory.maintenance().withdraw(by, session_ids))
    print_list(found, STOPS, as_json=as_json, empty="None was to be stopped for maintenance.")


@app.command("corrections")
def corrections(session_id: Session, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List how a session was corrected, the oldest first; the latest holds."""
    history = operate(data, lambda factory, by: factory.corrections().history(by, session_id))
    print_list(history, CORRECTIONS, as_json=as_json, empty="It was never corrected.")


@app.command("void")
def void(
    session_id: Session, reason: Reason, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Charge nothing for a session."""
    session = operate(data, lambda factory, by: factory.corrections().void(by, session_id, reason))
    print_one(session, DETAILS, as_json=as_json)


@app.command("amend")
def amend(
    session_id: Session,
    reason: Reason,
    start: Annotated[
        datetime | None,
        typer.Option("--start", parser=moment, metavar="TIME", help="Charged from then on (UTC)."),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--end", parser=moment, metavar="TIME", help="Charged up to then (UTC)."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Charge a session from another start or to another end; the rest is as it was reported."""
    session = operate(
        data,
        lambda factory, by: factory.corrections().amend(
            by, session_id, reason, started_at=start, ended_at=end
        ),
    )
    print_one(session, DETAILS, as_json=as_json)


@app.command("restore")
def restore(
    session_id: Session, reason: Reason, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Charge a session as it was reported."""
    session = operate(
        data, lambda factory, by: factory.corrections().restore(by, session_id, reason)
    )
    print_one(session, DETAILS, as_json=as_json)
