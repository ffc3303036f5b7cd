"""``dachub allocation``: what groups may use."""

from __future__ import annotations

from typing import Annotated

import typer

from dachub.cli.options import DataOption, GroupOption, JsonOption, moment
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.problems import NotFound
from dachub.model.usage import AllocationRecord, Policy, Resource

app = typer.Typer(help="What groups may use.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Why; kept beside the amount for ever.")]
Identifier = Annotated[int, typer.Argument(metavar="ALLOCATION", help="Its number.")]


def spoken(amount: int, resource: Resource) -> str:
    """An amount in the unit that people speak of."""
    return f"{amount / resource.base_units:,.2f}"


LIST: Columns[AllocationRecord] = {
    "id": lambda allocation: allocation.allocation_id,
    "group": lambda allocation: allocation.group,
    "resource": lambda allocation: allocation.resource,
    "amount": lambda allocation: spoken(allocation.amount, allocation.resource),
    "used": lambda allocation: spoken(allocation.used, allocation.resource),
    "from": lambda allocation: allocation.starts_at,
    "until": lambda allocation: allocation.ends_at,
    "policy": lambda allocation: allocation.policy,
}
DETAILS: Columns[AllocationRecord] = {
    **LIST,
    "history": lambda allocation: [
        f"{spoken(change.amount, allocation.resource)} on {change.at:%Y-%m-%d} "
        f"by {change.author}: {change.reason}"
        for change in allocation.adjustments
    ],
}


@app.command("add")
def add(
    group: Annotated[str, typer.Argument(help="The group.")],
    amount: Annotated[str, typer.Argument(help="Core-hours, GPU-hours or bytes.")],
    starts: Annotated[str, typer.Option("--since", metavar="TIME", help="Begin (UTC), inclusive.")],
    ends: Annotated[str, typer.Option("--until", metavar="TIME", help="End (UTC), exclusive.")],
    reason: Reason,
    resource: Annotated[
        Resource, typer.Option("--resource", help="What is allocated.")
    ] = Resource.CORE_HOURS,
    policy: Annotated[
        Policy, typer.Option("--policy", help="What happens when it is spent.")
    ] = Policy.DENY,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allocate an amount to a group for a period."""
    starts_at, ends_at = moment(starts), moment(ends)
    record = operate(
        data,
        lambda factory, by: factory.allocations().create(
            by,
            group=group,
            resource=resource,
            amount=amount,
            starts_at=starts_at,
            ends_at=ends_at,
            policy=policy,
            reason=reason,
        ),
    )
    print_one(record, DETAILS, as_json=as_json)


@app.command("list")
def list_allocations(
    group: GroupOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List allocations."""
    records = operate(data, lambda factory, by: factory.allocations().list(by, group=group))
    print_list(records, LIST, as_json=as_json, empty="No allocations.")


@app.command("show")
def show(allocation_id: Identifier, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show an allocation and how it came to its amount."""
    records = operate(data, lambda factory, by: factory.allocations().list(by))
    record = next((record for record in records if record.allocation_id == allocation_id), None)
    if record is None:
        raise NotFound(f"There is no allocation {allocation_id}.")
    print_one(record, DETAILS, as_json=as_json)


@app.command("adjust", context_settings={"ignore_unknown_options": True})  # for "-100"
def adjust(
    allocation_id: Identifier,
    amount: Annotated[str, typer.Argument(help="To add; negative takes away.")],
    reason: Reason,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an allocation's amount."""
    record = operate(
        data, lambda factory, by: factory.allocations().adjust(by, allocation_id, amount, reason)
    )
    print_one(record, DETAILS, as_json=as_json)
