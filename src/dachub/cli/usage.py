"""``dachub usage``: computing time used, for any period."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from dachub.cli.options import (
    DataOption,
    GroupOption,
    JsonOption,
    SinceOption,
    UntilOption,
    UserOption,
    month_start,
)
from dachub.cli.output import Columns, print_json, print_list
from dachub.cli.platform import operate
from dachub.model.problems import DachubError
from dachub.model.units import SECONDS_PER_HOUR
from dachub.model.usage import Resource, UsageDimension, UsageReport, UsageRow

app = typer.Typer(help="Computing time used, for any period.", invoke_without_command=True)


class Dimension(StrEnum):
    """What usage is summed by."""

    DAY = "day"
    MONTH = "month"
    USER = "user"
    GROUP = "group"
    KIND = "kind"
    SIZE = "size"
    ENVIRONMENT = "environment"
    INSTITUTION = "institution"


class UsageDiffers(DachubError):
    """The daily sums are not what the sessions say."""

    code = "usage-differs"


NAMES: Columns[UsageRow] = {
    "day": lambda row: row.day,
    "month": lambda row: None if row.month is None else f"{row.month:%Y-%m}",
    "user": lambda row: row.username,
    "group": lambda row: row.group,
    "kind": lambda row: row.kind,
    "size": lambda row: row.size,
    "environment": lambda row: row.environment,
    "institution": lambda row: row.institution,
}
AMOUNTS: Columns[UsageRow] = {
    "core-hours": lambda row: f"{row.core_hours:,.4f}",
    "GiB-hours": lambda row: f"{row.memory_byte_seconds / Resource.MEMORY_HOURS.base_units:,.4f}",
    "GPU-hours": lambda row: f"{row.gpu_seconds / SECONDS_PER_HOUR:,.4f}",
}


@app.callback()
def usage(
    context: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    by: Annotated[
        list[Dimension] | None, typer.Option("--by", help="Sum by this; may be repeated.")
    ] = None,
    username: UserOption = None,
    group: GroupOption = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report usage; without a period that of this month."""
    if context.invoked_subcommand is not None:
        return
    now = datetime.now(UTC)
    dimensions: list[UsageDimension] = [dimension.value for dimension in by or ()]
    report = operate(
        data,
        lambda factory, operator: factory.usage().report(
            operator,
            since=since or month_start(now.date()),
            until=until or now,
            dimensions=dimensions,
            username=username,
            group=group,
            kind=kind,
        ),
    )
    if as_json:
        print_json(report)
        return
    _print_table(report)
    if group is not None:
        balance = operate(data, lambda factory, _by: factory.quota().balance(group))
        if balance.projected_exhaustion_at is not None:
            typer.echo(
                f"At the rate of the last 14 days what {group} has left is spent on "
                f"{balance.projected_exhaustion_at:%Y-%m-%d %H:%M} UTC."
            )


def _print_table(report: UsageReport) -> None:
    chosen = {name: NAMES[name] for name in report.by}
    if report.by:
        print_list(report.rows, chosen | dict(AMOUNTS), as_json=False, empty="Nothing was used.")
        typer.echo("")
    typer.echo(
        f"From {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC: "
        f"{report.total.core_hours:,.4f} core-hours."
    )


@app.command("check")
def check(data: DataOption = None) -> None:
    """Compare the daily sums with the sessions."""
    differences = operate(data, lambda factory, _by: factory.ledger().check_usage_days())
    if not differences:
        typer.echo("The daily sums agree with the sessions.")
        return
    lines = [
        f"  {difference.key.day} {difference.key.username} {difference.key.group}: "
        f"{difference.counted} milli-core-seconds instead of {difference.expected}"
        for difference in differences[:20]
    ]
    raise UsageDiffers(
        f"{len(differences)} daily sums differ from the sessions:\n"
        + "\n".join(lines)
        + "\nWrite them anew with: dachub usage rebuild"
    )


@app.command("rebuild")
def rebuild(data: DataOption = None) -> None:
    """Write the daily sums anew from the sessions."""
    count = operate(data, lambda factory, _by: factory.ledger().rebuild_usage_days())
    typer.echo(f"{count} daily sums were written.")
