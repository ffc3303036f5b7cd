"""``dachub cores``: how many cores may run at once, how many do, and who waits for them."""

from __future__ import annotations

from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import Columns, print_json, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.queue import CoreLimit, CoresInUse, WaitingStart
from dachub.model.units import cores

app = typer.Typer(help="How many cores may run at once, and who waits.", no_args_is_help=True)
GroupOption = Annotated[
    str | None, typer.Option("--group", help="Of this group; else of the site.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept beside the limit for ever.")]


def _spoken(milli_cores: int | None, otherwise: str) -> str:
    return otherwise if milli_cores is None else cores(milli_cores)


USE: Columns[CoresInUse] = {
    "of": lambda use: use.group or "the site",
    "in use": lambda use: cores(use.in_use_milli_cores),
    "limit": lambda use: _spoken(use.limit_milli_cores, "none"),
    "waiting": lambda use: use.waiting,
}
QUEUE: Columns[WaitingStart] = {
    "username": lambda start: start.username,
    "group": lambda start: start.group,
    "cores": lambda start: cores(start.milli_cores),
    "asked": lambda start: start.asked_at,
    "waits for": lambda start: f"the {start.place.waits_for.value}'s cores",
    "place": lambda start: f"{start.place.number} of {start.place.waiting}",
}
LIMITS: Columns[CoreLimit] = {
    "at": lambda limit: limit.at,
    "of": lambda limit: limit.group or "the site",
    "cores": lambda limit: _spoken(limit.milli_cores, "as configured"),
    "by": lambda limit: limit.author,
    "reason": lambda limit: limit.reason,
}


@app.command("show")
def show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show cores in use and limits, of the site and of groups."""
    report = operate(data, lambda factory, by: factory.queue().report(by))
    if as_json:
        print_json(report)
    else:
        print_list([report.site, *report.groups], USE, as_json=False)


@app.command("queue")
def queue(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List servers that wait for cores, in the order in which they were asked for."""
    report = operate(data, lambda factory, by: factory.queue().report(by))
    print_list(report.queue, QUEUE, as_json=as_json, empty="Nobody waits.")


@app.command("limit")
def limit(
    amount: Annotated[str, typer.Argument(metavar="CORES", help="So many at once.")],
    reason: Reason,
    group: GroupOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the site or a group run so many cores at once, at once and without a restart."""
    made = operate(data, lambda factory, by: factory.core_limits().set(by, group, amount, reason))
    print_one(made, LIMITS, as_json=as_json)


@app.command("lift")
def lift(
    reason: Reason, group: GroupOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Follow the configuration again (quota.concurrent_milli_cores)."""
    made = operate(data, lambda factory, by: factory.core_limits().set(by, group, None, reason))
    print_one(made, LIMITS, as_json=as_json)


@app.command("history")
def history(
    group: GroupOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List what was ever set, the latest first."""
    found = operate(data, lambda factory, by: factory.core_limits().history(by, group))
    print_list(list(found), LIMITS, as_json=as_json, empty="As configured.")
