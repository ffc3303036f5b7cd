"""``dachub group limit``: what one member may use of a group's allocations."""

from __future__ import annotations

from typing import Annotated

import typer

from dachub.cli.allocation import Reason, spoken
from dachub.cli.group import Slug, Username
from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import group_slug, operate
from dachub.model.allocations import MemberBalance, MemberLimit
from dachub.model.usage import Resource

app = typer.Typer(help="What one member may use of a group's allocations.", no_args_is_help=True)
ResourceOption = Annotated[Resource, typer.Option("--resource", help="What is limited.")]

LIST: Columns[MemberBalance] = {
    "username": lambda member: member.username,
    "resource": lambda member: member.resource,
    "limit": lambda member: spoken(member.limit, member.resource),
    "used": lambda member: spoken(member.used, member.resource),
    "since": lambda member: member.since,
    "state": lambda member: member.state,
}
HISTORY: Columns[MemberLimit] = {
    "username": lambda limit: limit.username,
    "resource": lambda limit: limit.resource,
    "limit": lambda limit: (
        "lifted" if limit.amount is None else spoken(limit.amount, limit.resource)
    ),
    "on": lambda limit: limit.at,
    "by": lambda limit: limit.author,
    "reason": lambda limit: limit.reason,
}


@app.command("set")
def set_limit(
    slug: Slug,
    username: Username,
    amount: Annotated[str, typer.Argument(help="Of each period, in core-hours and the like.")],
    reason: Reason,
    resource: ResourceOption = Resource.CORE_HOURS,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Limit what a member may use; they are told."""
    limit = operate(
        data,
        lambda factory, by: factory.limits().set(by, slug, username, resource, amount, reason),
    )
    print_one(limit, HISTORY, as_json=as_json)


@app.command("lift")
def lift(
    slug: Slug,
    username: Username,
    reason: Reason,
    resource: ResourceOption = Resource.CORE_HOURS,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift a member's limit; they are told."""
    limit = operate(
        data, lambda factory, by: factory.limits().set(by, slug, username, resource, None, reason)
    )
    print_one(limit, HISTORY, as_json=as_json)


@app.command("list")
def list_limits(slug: Slug, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the limits in force, and what was used of them."""
    checked = group_slug(slug)
    found = operate(data, lambda factory, by: factory.quota().members(by, checked))
    print_list(list(found), LIST, as_json=as_json, empty="No member has a limit.")


@app.command("history")
def history(slug: Slug, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all limits there ever were, the latest first."""
    checked = group_slug(slug)
    found = operate(data, lambda factory, by: factory.limits().history(by, checked))
    print_list(list(found), HISTORY, as_json=as_json, empty="No member ever had a limit.")
