"""``dachub allocation``: what groups may use."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from dachub.cli.options import DataOption, GroupOption, JsonOption, moment
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import group_slug, operate
from dachub.model.problems import InvalidInput
from dachub.model.usage import (
    Adjustment,
    AllocationRecord,
    GroupBalance,
    Policy,
    QuotaPolicy,
    Resource,
)

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
    "warns at percent": lambda allocation: allocation.rules.warn_at_percent,
    "grace": lambda allocation: _grace(allocation.rules),
    "series": lambda allocation: allocation.series_id,
    "history": lambda allocation: [
        f"{_said(change, allocation.resource)} on {change.at:%Y-%m-%d} by {change.author}: "
        f"{change.reason}"
        for change in allocation.adjustments
    ],
}


def _grace(rules: QuotaPolicy) -> str:
    parts = [f"{rules.grace_percent:g} %"] if rules.grace_percent else []
    parts += [f"{rules.grace_seconds} s"] if rules.grace_seconds else []
    return " or ".join(parts)


def _said(change: Adjustment, resource: Resource) -> str:
    """What an adjustment changed."""
    parts = [f"{change.amount / resource.base_units:+,.2f}"] if change.amount else []
    parts += [f"until {change.ends_at:%Y-%m-%d %H:%M}"] if change.ends_at else []
    if change.policy is not None:
        parts.append(f"policy {change.policy.filled_from(QuotaPolicy()).when_spent}")
    return ", ".join(parts) or "nothing"


BALANCE: Columns[GroupBalance] = {
    "resource": lambda balance: balance.resource,
    "state": lambda balance: balance.state,
    "allocated": lambda balance: _of(balance, balance.allocated),
    "used": lambda balance: _of(balance, balance.used),
    "left": lambda balance: _of(balance, balance.left),
    "resets": lambda balance: balance.resets_at,
    "at this rate spent": lambda balance: balance.projected_exhaustion_at,
    "a server that starts now": lambda balance: [
        f"{size.size}: {size.text}" for size in balance.forecasts if size.text
    ],
}


def _of(balance: GroupBalance, amount: int | None) -> str | None:
    return None if amount is None else spoken(amount, balance.resource)


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
    """Show an allocation, and every change that made it what it is."""
    record = operate(data, lambda factory, by: factory.allocations().show(by, allocation_id))
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


@app.command("extend")
def extend(
    allocation_id: Identifier,
    ends: Annotated[str, typer.Option("--until", metavar="TIME", help="New end (UTC), exclusive.")],
    reason: Reason,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an allocation end later, or earlier."""
    ends_at = moment(ends)
    record = operate(
        data,
        lambda factory, by: factory.allocations().change(
            by, allocation_id, reason, ends_at=ends_at
        ),
    )
    print_one(record, DETAILS, as_json=as_json)


@app.command("policy")
def policy(
    allocation_id: Identifier,
    reason: Reason,
    when_spent: Annotated[
        Policy | None, typer.Option("--policy", help="What happens when it is spent.")
    ] = None,
    warn_at: Annotated[
        list[int] | None, typer.Option("--warn-at", help="Used percent; may be repeated.")
    ] = None,
    grace_percent: Annotated[
        float | None, typer.Option("--grace-percent", help="How far it may be exceeded.")
    ] = None,
    grace_seconds: Annotated[
        int | None, typer.Option("--grace-seconds", help="How long after it was spent.")
    ] = None,
    stop_notice_seconds: Annotated[
        int | None, typer.Option("--stop-notice-seconds", help="Notice before servers stop.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an allocation another policy; what is not named is the site's."""
    said = {
        "when_spent": when_spent,
        "warn_at_percent": None if warn_at is None else tuple(warn_at),
        "grace_percent": grace_percent,
        "grace_seconds": grace_seconds,
        "stop_notice_seconds": stop_notice_seconds,
    }
    try:
        rules = QuotaPolicy.model_validate(
            {name: value for name, value in said.items() if value is not None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{first['loc'][0]}: {first['msg']}") from error
    record = operate(
        data,
        lambda factory, by: factory.allocations().change(by, allocation_id, reason, policy=rules),
    )
    print_one(record, DETAILS, as_json=as_json)


@app.command("forecast")
def forecast(
    group: Annotated[str, typer.Argument(help="The group.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a group has left of each resource, and how long that lasts."""
    slug = group_slug(group)
    balances = operate(data, lambda factory, _by: factory.quota().balances(slug))
    print_list(list(balances), BALANCE, as_json=as_json)


@app.command("trust")
def trust(reason: Reason, data: DataOption = None) -> None:
    """Say that the clock is right after it was set by more than minutes: quotas count again."""
    typer.echo(operate(data, lambda factory, by: factory.enforcement().trust(by, reason)))
