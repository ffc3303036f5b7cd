"""``dachub deploy``: what puts the platform where it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from dachub import config
from dachub.cli import cluster_backup
from dachub.cli.options import ConfigOption, InstanceOption, JsonOption, YesOption
from dachub.cli.output import print_json
from dachub.cli.platform import configuration_of
from dachub.config import Settings
from dachub.deploy import backups, chart, draining, releases, status, z2jh
from dachub.deploy import logging as logs
from dachub.deploy import nginx as front
from dachub.deploy.helm import Cluster
from dachub.model.problems import InvalidInput

app = typer.Typer(help="Put the platform where it is to run.", no_args_is_help=True)
app.add_typer(cluster_backup.app, name="backup")

Machine = Annotated[str, typer.Argument(metavar="NODE", help="Its name in the cluster.")]


@app.command("z2jh-values")
def z2jh_values(path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Print the values for an unmodified Zero to JupyterHub."""
    _print_yaml(z2jh.values(_settings(path, instance)))


@app.command("chart-values")
def chart_values(path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Print the values for dachub's own chart."""
    _print_yaml(chart.values(_settings(path, instance)))


@app.command("commands")
def commands(path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Print the two plain Helm commands that do what apply does."""
    settings = _settings(path, instance)
    typer.echo(
        "dachub deploy chart-values > dachub-values.yaml\n"
        "dachub deploy z2jh-values > jupyterhub-values.yaml"
    )
    for line in releases.commands(settings, "dachub-values.yaml", "jupyterhub-values.yaml"):
        typer.echo(line)


@app.command("plan")
def plan(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """Say what apply would change, checked by the cluster itself; changes nothing."""
    _show(releases.changes(*_meant(path, instance)), as_json=as_json, whole=False)


@app.command("diff")
def diff(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """Show line by line what apply would change; never a secret's value."""
    _show(releases.changes(*_meant(path, instance)), as_json=as_json, whole=True)


@app.command("apply")
def apply(
    path: ConfigOption = None, instance: InstanceOption = None, yes: YesOption = False
) -> None:
    """Install or upgrade; what fails goes back to what it was. Running servers go on."""
    cluster, settings = _meant(path, instance)
    backups.require_finished(cluster)
    count = _show(releases.changes(cluster, settings), as_json=False, whole=False)
    if not count:
        return
    _confirm("Apply this to", cluster, yes=yes)
    releases.apply(cluster, settings, typer.echo)
    typer.echo(status.first_steps(cluster, settings))


@app.command("rollback")
def rollback(
    path: ConfigOption = None, instance: InstanceOption = None, yes: YesOption = False
) -> None:
    """Go back to what ran before the last apply; the database keeps its schema."""
    cluster, settings = _meant(path, instance)
    backups.require_finished(cluster)
    _confirm("Roll back in", cluster, yes=yes)
    releases.roll_back(cluster, settings, typer.echo)


@app.command("status")
def show_status(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """Say how the platform on the cluster is; status 1 where something is not as it should be."""
    report = status.read(*_meant(path, instance))
    if as_json:
        print_json(report.as_dict())
    else:
        typer.echo(report.as_text())
    if not report.is_well:
        raise typer.Exit(1)


@app.command("drain")
def drain(
    machine: Machine,
    within: Annotated[
        str | None,
        typer.Option(
            "--within",
            metavar="LENGTH",
            help="Servers there are stopped after so long, as 30m, 2h or 1d; 2h when not given.",
            show_default=False,
        ),
    ] = None,
    because: Annotated[
        str | None, typer.Option("--because", help="What people are told of why.")
    ] = None,
    move: Annotated[
        bool,
        typer.Option("--drain", help="At the end evict what else is there, by kubectl drain."),
    ] = False,
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Take a machine out of service: nobody new, a notice to who is there, wait until it is empty.

    It can be interrupted and run again: what was told holds.
    """
    cluster, _ = _meant(path, instance)
    length = None if within is None else draining.length(within)
    try:
        draining.drain(cluster, machine, typer.echo, within=length, because=because, move=move)
    except KeyboardInterrupt:
        typer.echo(
            f"Interrupted; what was told holds. Go on: dachub deploy drain {machine}. "
            f"Take it back: dachub deploy undrain {machine}",
            err=True,
        )
        raise typer.Exit(130) from None


@app.command("undrain")
def undrain(machine: Machine, path: ConfigOption = None, instance: InstanceOption = None) -> None:
    """Put a machine back into service: servers go on, and their people are told."""
    cluster, _ = _meant(path, instance)
    draining.undrain(cluster, machine, typer.echo)


@app.command("remove")
def remove(
    path: ConfigOption = None,
    instance: InstanceOption = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Its name once more, so that it is meant.")
    ] = None,
) -> None:
    """Uninstall, people's running servers with it; volumes and secrets stay."""
    settings = _settings(path, instance)
    _require_meant(settings, namespace, "removes the platform and stops everybody's server")
    releases.remove(_cluster(settings), settings, typer.echo)


@app.command("reset")
def reset(
    instance: InstanceOption = None,
    path: ConfigOption = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Its name once more, so that it is meant.")
    ] = None,
) -> None:
    """Remove an instance with all its data, and install it anew; never the main one."""
    if instance is None:
        raise InvalidInput("Only an instance can be reset: say which with --instance.")
    settings = _settings(path, instance)
    main = _settings(path, None).cluster
    if (main.context, main.namespace) == (settings.cluster.context, settings.cluster.namespace):
        raise InvalidInput(
            f"The instance '{instance}' has the namespace of the main one: give it its own."
        )
    _require_meant(settings, namespace, "deletes all homes, tables and figures of this instance")
    cluster = _cluster(settings)
    releases.remove(cluster, settings, typer.echo)
    releases.delete_data(cluster, typer.echo)
    releases.apply(cluster, settings, typer.echo)
    typer.echo(status.first_steps(cluster, settings))


@app.command("nginx")
def nginx(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIRECTORY", help="Where the files go; made if it is not there."),
    ],
    check: Annotated[
        bool,
        typer.Option(help="Have the nginx of this machine look for faults first, if there is one."),
    ] = True,
    path: ConfigOption = None,
    instance: InstanceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the configuration of an nginx in front, with the pages that it shows by itself."""
    settings = _settings(path, instance)
    checked = front.put(settings, directory.absolute(), check=check)
    if as_json:
        print_json({"directory": str(directory.absolute()), "checked": checked})
        return
    here = settings.nginx.directory
    typer.echo(
        f"The configuration is in {directory}; nginx "
        + ("found no fault in it." if checked else "did not look at it.")
        + f"\nOn nginx's machine it belongs into {here}, and is used from there by\n"
        f"  ln -sf {here}/dachub.conf /etc/nginx/conf.d/   # or, where nginx serves nothing else:\n"
        f"  ln -sf {here}/nginx.conf /etc/nginx/nginx.conf\n"
        "  nginx -t && systemctl reload nginx"
    )


@app.command("logging")
def logging(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """Prepare the store of logs: index templates, retention, searches, a dashboard."""
    outcomes = []
    for outcome in logs.prepare(_settings(path, instance)):
        outcomes.append({"what": outcome.what, "result": outcome.result})
        if not as_json:
            typer.echo(f"{outcome.what}: {outcome.result}")
    if as_json:
        print_json(outcomes)


def _settings(path: Path | None, instance: str | None) -> Settings:
    return config.load(configuration_of(path), instance=instance)


def _meant(path: Path | None, instance: str | None) -> tuple[Cluster, Settings]:
    """What is to be changed: the cluster, if it is the one kubectl is turned to, and its settings.

    Raises
    ------
    WrongCluster, ConfigurationError
    """
    settings = _settings(path, instance)
    return _cluster(settings), settings


def _confirm(what: str, cluster: Cluster, *, yes: bool) -> None:
    if not yes:
        typer.confirm(f"{what} the namespace {cluster.namespace} of {cluster.context}?", abort=True)


def _cluster(settings: Settings) -> Cluster:
    cluster = settings.cluster
    return Cluster.checked(cluster.context, cluster.server, cluster.namespace)


def _require_meant(settings: Settings, namespace: str | None, what: str) -> None:
    if namespace != settings.cluster.namespace:
        raise InvalidInput(f"This {what}. If it is meant: --namespace {settings.cluster.namespace}")


def _show(changes: Any, *, as_json: bool, whole: bool) -> int:
    """Print changes as they are found; how many there were."""
    if as_json:
        found = [
            {"release": one.release, "kind": one.kind, "name": one.name, "change": one.verb}
            | ({"lines": list(one.lines)} if whole else {})
            for one in changes
        ]
        print_json(found)
        return len(found)
    count = 0
    for count, one in enumerate(changes, 1):  # noqa: B007
        typer.echo(f"{one.release}: {one.kind} {one.name} is {one.verb}")
        if whole:
            typer.echo("".join(f"  {line}\n" for line in one.lines), nl=False)
    if not count:
        typer.echo("Nothing changes.")
    return count


def _print_yaml(values: dict[str, Any]) -> None:
    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
