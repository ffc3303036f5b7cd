"""``dachub request``: groups, and members with a limit, that ask for more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from dachub.cli.allocation import spoken
from dachub.cli.options import DataOption, GroupOption, JsonOption, LimitOption, moment
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.requests import AllocationRequest, RequestState

app = typer.Typer(help="Groups, and members with a limit, that ask for more.", no_args_is_help=True)
Identifier = Annotated[int, typer.Argument(metavar="REQUEST", help="Its number.")]

LIST: Columns[AllocationRequest] = {
    "id": lambda request: request.request_id,
    "at": lambda request: request.created_at,
    "group": lambda request: request.group,
    "by": lambda request: request.username,
    "resource": lambda request: request.resource,
    "amount": lambda request: spoken(request.amount, request.resource),
    "for": lambda request: "own limit" if request.own_limit else "group",
    "reason": lambda request: request.reason,
    "state": lambda request: request.state,
}
DETAILS: Columns[AllocationRequest] = {
    **LIST,
    "granted": lambda request: (
        None if request.granted is None else spoken(request.granted, request.resource)
    ),
    "allocation": lambda request: request.allocation_id,
    "decided by": lambda request: request.decided_by,
    "decided at": lambda request: request.decided_at,
    "because": lambda request: request.decision_reason,
}


@app.command("list")
def list_requests(
    group: GroupOption = None,
    state: Annotated[
        RequestState | None, typer.Option("--state", help="Only those in this state.")
    ] = None,
    limit: LimitOption = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests, newest first."""
    found = operate(
        data,
        lambda factory, by: factory.requests().list(by, group=group, state=state, limit=limit),
    )
    print_list(found, LIST, as_json=as_json, empty="No requests.")


@app.command("show")
def show(request_id: Identifier, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show a request and what became of it."""
    found = operate(data, lambda factory, by: factory.requests().show(by, request_id))
    print_one(found, DETAILS, as_json=as_json)


@app.command("grant")
def grant(
    request_id: Identifier,
    amount: Annotated[
        str | None, typer.Option("--amount", help="Instead of what was asked for.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Who asked is told.")] = "",
    starts_at: Annotated[
        datetime | None,
        typer.Option(
            "--since", parser=moment, metavar="TIME",
            help="Beginning (UTC) of a new allocation, instead of adding to the one in force.",
        ),
    ] = None,
    ends_at: Annotated[
        datetime | None,
        typer.Option("--until", parser=moment, metavar="TIME", help="Its end (UTC), exclusive."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Grant a request; the requester and the group's PIs are told."""
    decided = operate(
        data,
        lambda factory, by: factory.requests().grant(
            by, request_id, amount=amount, reason=reason, starts_at=starts_at, ends_at=ends_at
        ),
    )
    print_one(decided, DETAILS, as_json=as_json)


@app.command("decline")
def decline(
    request_id: Identifier,
    reason: Annotated[str, typer.Option("--reason", help="Who asked is told.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decline a request; the requester and the group's PIs are told why."""
    decided = operate(data, lambda factory, by: factory.requests().decline(by, request_id, reason))
    print_one(decided, DETAILS, as_json=as_json)
