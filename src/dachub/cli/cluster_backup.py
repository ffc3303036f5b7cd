"""``dachub deploy backup``: backups on the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dachub import config
from dachub.backup.restore import require_fitting
from dachub.cli.options import ConfigOption, InstanceOption, JsonOption, YesOption
from dachub.cli.platform import configuration_of
from dachub.deploy import backups
from dachub.deploy.helm import Cluster
from dachub.model.problems import Conflict

app = typer.Typer(help="Backups on the cluster.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a backup, as list shows it.")]


@app.command("create")
def create(path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Make a backup now, as is done each night."""
    typer.echo(backups.create(_cluster(path, instance)), nl=False)


@app.command("list")
def list_(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """List the backups on the cluster, newest first."""
    options = ["--json"] if as_json else []
    typer.echo(backups.listing(_cluster(path, instance), *options), nl=False)


@app.command("fetch")
def fetch(
    name: Name,
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where it goes.")],
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Copy a backup from the cluster to a directory here, and check it."""
    target = directory / name
    if target.exists():
        raise Conflict(f"{target} is there already.")
    cluster = _cluster(path, instance)
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = directory / f"{name}.unfinished"
    unfinished.touch(mode=0o600)  # kubectl keeps the mode of what is there
    backups.fetch(cluster, name, unfinished)
    require_fitting(unfinished)
    unfinished.rename(target)
    typer.echo(f"{target} is whole.")


@app.command("put")
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Copy a backup from here to the cluster, to restore it there."""
    require_fitting(file)
    backups.put(_cluster(path, instance), file)
    typer.echo(
        f"{file.name} is on the cluster. Restore it: dachub deploy backup restore {file.name}"
    )


@app.command("restore")
def restore(
    name: Name,
    path: ConfigOption = None,
    instance: InstanceOption = None,
    yes: YesOption = False,
) -> None:
    """Stop the platform, put a backup back, start it again; people's servers go on.

    Interrupted or failed, it can be run again.
    """
    cluster = _cluster(path, instance)
    if not yes:
        typer.confirm(
            f"Replace database and hub in the namespace {cluster.namespace} of {cluster.context} "
            f"by {name}?",
            abort=True,
        )
    try:
        backups.restore(cluster, name, typer.echo)
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted; the platform may be stopped. Do it again, or start what is there: "
            "dachub deploy backup resume",
            err=True,
        )
        raise typer.Exit(130) from None


@app.command("resume")
def resume(path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Start what a restore stopped, with the data as they are."""
    backups.resume(_cluster(path, instance), typer.echo)


def _cluster(path: Path | None, instance: str | None) -> Cluster:
    cluster = config.load(configuration_of(path), instance=instance).cluster
    return Cluster.checked(cluster.context, cluster.server, cluster.namespace)
