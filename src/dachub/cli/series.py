"""``dachub allocation series``: allocations that recur."""

from __future__ import annotations

from typing import Annotated

import typer

from dachub.cli.allocation import Reason, spoken
from dachub.cli.options import DataOption, GroupOption, JsonOption, SinceOption, UntilOption
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.allocations import AllocationSeries, Recurrence
from dachub.model.usage import Policy, Resource

app = typer.Typer(help="Allocations that recur.", no_args_is_help=True)

LIST: Columns[AllocationSeries] = {
    "id": lambda series: series.series_id,
    "group": lambda series: series.group,
    "resource": lambda series: series.resource,
    "amount": lambda series: spoken(series.amount, series.resource),
    "every": lambda series: series.every,
    "first": lambda series: series.first,
    "until": lambda series: series.until,
    "carried over": lambda series: (
        "all" if series.carry_over_percent is None else f"{series.carry_over_percent} %"
    ),
    "reason": lambda series: series.reason,
    "ended by": lambda series: series.ended_by,
}


@app.command("add")
def add(
    group: Annotated[str, typer.Argument(help="The group.")],
    amount: Annotated[str, typer.Argument(help="For each period.")],
    every: Annotated[Recurrence, typer.Option("--every", help="How long a period is.")],
    reason: Reason,
    resource: Annotated[
        Resource, typer.Option("--resource", help="What is allocated.")
    ] = Resource.CORE_HOURS,
    since: SinceOption = None,
    until: UntilOption = None,
    carry_over_percent: Annotated[
        int, typer.Option("--carry-over-percent", min=0, max=100, help="Of the amount, at most.")
    ] = 0,
    carry_over_all: Annotated[
        bool, typer.Option("--carry-over-all", help="All that is left goes to the next period.")
    ] = False,
    policy: Annotated[
        Policy | None, typer.Option("--policy", help="What happens when it is spent.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allocate an amount anew for every period; the first is the one of --since, or of now."""
    series = operate(
        data,
        lambda factory, by: factory.series().add(
            by,
            group=group,
            resource=resource,
            amount=amount,
            every=every,
            first=since,
            until=until,
            carry_over_percent=None if carry_over_all else carry_over_percent,
            policy=policy,
            reason=reason,
        ),
    )
    print_one(series, LIST, as_json=as_json)


@app.command("list")
def list_series(
    group: GroupOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List recurring allocations."""
    found = operate(data, lambda factory, by: factory.series().list(by, group=group))
    print_list(list(found), LIST, as_json=as_json, empty="No recurring allocations.")


@app.command("end")
def end(
    series_id: Annotated[int, typer.Argument(metavar="SERIES", help="Its number.")],
    reason: Reason,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let no further period begin; the one of now goes on to its end."""
    series = operate(data, lambda factory, by: factory.series().end(by, series_id, reason))
    print_one(series, LIST, as_json=as_json)
