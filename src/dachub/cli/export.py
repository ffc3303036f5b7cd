"""``dachub export``: files for Open XDMoD and APEL."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption, LimitOption, moment
from dachub.cli.output import Columns, print_json, print_list
from dachub.cli.platform import operate, operate_process
from dachub.model.exports import (
    ExportDifference,
    ExportFormat,
    ExportOutcome,
    ExportRun,
    ReconciliationLine,
)
from dachub.model.problems import InvalidInput
from dachub.model.units import core_hours
from dachub.reports.services import Output
from dachub.server.exporting import export

app = typer.Typer(help="Files for Open XDMoD and APEL.", no_args_is_help=True)
xdmod = typer.Typer(help="Files for Open XDMoD.", no_args_is_help=True)
apel = typer.Typer(help="Messages for APEL.", no_args_is_help=True)
app.add_typer(xdmod, name="xdmod")
app.add_typer(apel, name="apel")

From = Annotated[
    datetime, typer.Option("--since", parser=moment, metavar="TIME", help="From then on (UTC).")
]
Until = Annotated[
    datetime, typer.Option("--until", parser=moment, metavar="TIME", help="Up to then (UTC).")
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        metavar="DIR|FILE",
        help="A directory (there, or ending with /), in which each export gets a name of its own; "
        "or a file that does not exist.",
    ),
]
DirectoryOption = Annotated[
    Path,
    typer.Option(
        "--output",
        metavar="DIR",
        help="Directory of messages, made if need be; ssmsend may read it (path_type: directory).",
    ),
]

RUNS: Columns[ExportRun] = {
    "run": lambda run: run.run_id,
    "format": lambda run: run.format.value,
    "from": lambda run: run.since,
    "until": lambda run: run.until,
    "state": lambda run: run.state,
    "records": lambda run: run.records,
    "core-hours": lambda run: f"{core_hours(run.milli_core_seconds):,.4f}",
    "as exported": lambda run: f"{core_hours(run.exported_milli_core_seconds):,.4f}",
    "by": lambda run: run.prepared_by,
    "at": lambda run: run.done_at or run.prepared_at,
    "files": lambda run: [f"{run.destination}/{file.name}" for file in run.files],
}
STEPS: Columns[ReconciliationLine] = {
    "core-hours": lambda step: f"{core_hours(step.milli_core_seconds):+,.4f}",
    "sessions": lambda step: step.sessions,
    "": lambda step: step.title,
}
DIFFERENCES: Columns[ExportDifference] = {
    "job": lambda difference: difference.export_id,
    "run": lambda difference: difference.run_id,
    "sent start": lambda difference: difference.sent_started_at,
    "sent end": lambda difference: difference.sent_ended_at,
    "sent core-hours": lambda difference: f"{core_hours(difference.sent_milli_core_seconds):,.4f}",
    "start now": lambda difference: difference.started_at,
    "end now": lambda difference: difference.ended_at,
    "core-hours now": lambda difference: f"{core_hours(difference.milli_core_seconds):,.4f}",
    "because": lambda difference: difference.reason,
}


def _output(text: str) -> Output:
    path = Path(text).absolute()
    if text.endswith("/") or path.is_dir():
        return Output(path)
    return Output(path.parent, path.name)


def _queue(path: Path) -> Output:
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is a file: messages need a directory.")
    return Output(path.absolute())


def _export(
    data: Path | None,
    export_format: ExportFormat,
    output: Output,
    since: datetime | None,
    until: datetime | None,
    *,
    as_json: bool,
) -> None:
    outcome = operate_process(
        data, lambda process, by: export(process, by, export_format, output, since, until)
    )
    if as_json:
        print_json(outcome)
    else:
        _tell(outcome)


def _tell(outcome: ExportOutcome) -> None:
    run = outcome.run
    if run is None:
        typer.echo("There was nothing to export that was not exported before.")
    else:
        if outcome.finished_earlier_run:
            typer.echo(
                f"Export {run.run_id}, prepared at {run.prepared_at:%Y-%m-%d %H:%M} UTC, was "
                "finished. Repeat the command for what has come since."
            )
        typer.echo(f"Export {run.run_id}: {run.records} records in")
        for file in run.files:
            typer.echo(f"  {run.destination}/{file.name}")
        added = run.exported_milli_core_seconds - run.milli_core_seconds
        if run.milli_core_seconds or added:
            typer.echo(
                f"{core_hours(run.milli_core_seconds):,.4f} core-hours, as exported "
                f"{core_hours(run.exported_milli_core_seconds):,.4f} "
                f"({core_hours(added):+,.4f} by the format's whole numbers)."
            )
    if outcome.reconciliation:
        typer.echo("")
        print_list(outcome.reconciliation, STEPS, as_json=False)
    for note in outcome.notes:
        typer.echo(f"\nNote: {note}")


@xdmod.command("jobs")
def xdmod_jobs(
    since: From, until: Until, output: OutputOption, data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Export sessions that ended in a period, each once, in Slurm's format."""
    _export(data, ExportFormat.XDMOD_JOBS, _output(output), since, until, as_json=as_json)


@xdmod.command("storage")
def xdmod_storage(
    since: From, until: Until, output: OutputOption, data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Export what was stored on each day of a period, as JSON."""
    _export(data, ExportFormat.XDMOD_STORAGE, _output(output), since, until, as_json=as_json)


@xdmod.command("names")
def xdmod_names(output: OutputOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Export the names of people and groups."""
    _export(data, ExportFormat.XDMOD_NAMES, _output(output), None, None, as_json=as_json)


@xdmod.command("hierarchy")
def xdmod_hierarchy(
    output: OutputOption, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Export site, institutions and groups, and which group belongs where (two files)."""
    _export(data, ExportFormat.XDMOD_HIERARCHY, _output(output), None, None, as_json=as_json)


@apel.command("cloud")
def apel_cloud(
    since: From, until: Until, output: DirectoryOption, data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Export cloud records of a period; what changed since it was sent is sent again."""
    _export(data, ExportFormat.APEL_CLOUD, _queue(output), since, until, as_json=as_json)


@apel.command("storage")
def apel_storage(
    since: From, until: Until, output: DirectoryOption, data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Export what was stored on each day of a period, as StAR records."""
    _export(data, ExportFormat.APEL_STORAGE, _queue(output), since, until, as_json=as_json)


@app.command("list")
def list_exports(
    export_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Only this format.")
    ] = None,
    limit: LimitOption = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was exported, newest first."""
    runs = operate(
        data,
        lambda factory, by: factory.exports().list(by, export_format=export_format, limit=limit),
    )
    print_list(runs, RUNS, as_json=as_json, empty="Nothing was exported yet.")


@app.command("differences")
def differences(
    since: From, until: Until, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List jobs sent to Open XDMoD that the ledger knows otherwise by now."""
    found = operate(data, lambda factory, by: factory.exports().differences(by, since, until))
    print_list(
        found, DIFFERENCES, as_json=as_json, empty="All that was sent is as the ledger has it."
    )
    if found and not as_json:
        typer.echo(
            "\nOpen XDMoD keeps a job as it was first told, and would count a second telling as "
            "another job. Have its administrators delete these jobs by their numbers and load "
            "corrected lines by hand, or let the difference stand beside the report."
        )
