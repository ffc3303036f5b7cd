"""The ``dachub`` command: translates, nothing more."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dachub import __version__
from dachub.cli import (
    allocation,
    audit,
    backup,
    configuration,
    cores,
    deploy,
    export,
    group,
    image,
    limit,
    report,
    request,
    series,
    session,
    state,
    storage,
    usage,
    user,
)
from dachub.cli.options import DataOption
from dachub.cli.platform import database_url, layout_of, settings_of
from dachub.infra.logging import log_to_standard_error
from dachub.model.problems import DachubError


class Commands(TyperGroup):
    """Tells our own errors in words: on standard error, with their code, exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        log_to_standard_error()
        try:
            return super().invoke(ctx)
        except DachubError as error:
            typer.echo(f"Error: {error.message} [{error.code}]", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    name="dachub",
    cls=Commands,
    help="The analysis platform of a survey data access centre.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold secrets
)
app.add_typer(configuration.app, name="config")
app.add_typer(user.app, name="user")
group.app.add_typer(limit.app, name="limit")
app.add_typer(group.app, name="group")
allocation.app.add_typer(series.app, name="series")
app.add_typer(allocation.app, name="allocation")
app.add_typer(request.app, name="request")
app.add_typer(cores.app, name="cores")
app.add_typer(usage.app, name="usage")
app.add_typer(session.app, name="session")
app.add_typer(export.app, name="export")
app.add_typer(storage.app, name="storage")
app.add_typer(deploy.app, name="deploy")
app.add_typer(image.app, name="image")
app.add_typer(backup.app, name="backup")
app.command()(report.report)
app.command()(audit.audit)
app.command()(state.status)
app.command()(state.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dachub {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options of the command itself."""


@app.command()
def up(
    data: DataOption = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; else as configured.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port to listen on; else as configured.")
    ] = None,
) -> None:
    """Run the platform in the foreground until Ctrl-C or SIGTERM."""
    from dachub.local.up import Platform  # only this command needs all of it

    layout = layout_of(data)
    Platform(layout.data, {"host": host, "port": port}, typer.echo).run()


@app.command()
def migrate(data: DataOption = None) -> None:
    """Bring the database to the schema that this dachub needs; ``up`` does so by itself."""
    from dachub import migrations

    layout = layout_of(data)
    settings = settings_of(layout)
    revision = migrations.upgrade(database_url(layout, settings))
    typer.echo(f"The database is at revision {revision}.")
