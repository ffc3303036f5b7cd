"""``dachub deploy``: what puts the platform where it is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import print_json
from dachub.cli.platform import layout_of, settings_of
from dachub.deploy import nginx as front

app = typer.Typer(help="Put the platform where it is to run.", no_args_is_help=True)


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
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the configuration of an nginx in front, with the pages that it shows by itself."""
    settings = settings_of(layout_of(data))
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
