"""``dachub report``: the report to the funder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption, SinceOption, UntilOption
from dachub.cli.output import print_json
from dachub.cli.platform import operate
from dachub.directory.models import Principal
from dachub.model.problems import InvalidInput
from dachub.model.reports import FunderReport
from dachub.reports.services import page
from dachub.reports.services.files import write_file
from dachub.reports.services.periods import Stretch, quarter, quarter_of, stretch
from dachub.server.factory import Factory


def report(
    quarter_name: Annotated[
        str | None,
        typer.Option("--quarter", metavar="YYYYQn", help="A quarter; by default the last one."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where the page goes (HTML).")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the funder's report of a period as one page that prints on A4."""
    if (since is None) != (until is None) or (since is not None and quarter_name is not None):
        raise InvalidInput("Give either --quarter, or both --since and --until.")
    if output is None and not as_json:
        raise InvalidInput("Say with --output where the page goes, or print figures with --json.")

    def chosen(factory: Factory) -> Stretch:
        if since is not None and until is not None:
            return stretch(since, until)
        if quarter_name is not None:
            return quarter(quarter_name)
        this = quarter_of(factory.clock.now())
        return quarter_of(this.since - timedelta(days=1))

    async def make(factory: Factory, by: Principal) -> FunderReport:
        return await factory.funder_reports().report(by, chosen(factory))

    figures = operate(data, make)
    if output is not None:
        write_file(output.absolute(), page.render(figures).encode())
    if as_json:
        print_json(figures)
    else:
        typer.echo(f"The report on {figures.title} is in {output}.")
