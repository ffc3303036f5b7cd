"""``dachub session``: what ran, when, for whom, and what it is charged."""

from __future__ import annotations

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
)
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.sessions import SessionRecord

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
DETAILS: Columns[SessionRecord] = {name: attrgetter(name) for name in SessionRecord.model_fields}


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
    session_id: Annotated[UUID, typer.Argument(metavar="SESSION", help="Its uuid.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a session as the ledger has it."""
    session = operate(data, lambda factory, by: factory.sessions().show(by, session_id))
    print_one(session, DETAILS, as_json=as_json)
