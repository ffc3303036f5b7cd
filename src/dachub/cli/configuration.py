"""``dachub config``: the configuration file."""

from __future__ import annotations

import json

import typer
import yaml

from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import print_json
from dachub.cli.platform import layout_of, settings_of
from dachub.config import (
    Settings,
    external_database_url,
    metrics_token,
    openid_client_secret,
    smtp_password,
)

app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@app.command("check")
def check(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check dachub.yaml and whether the secrets it names are there; changes nothing."""
    layout = layout_of(data)
    settings = settings_of(layout)
    openid_client_secret(settings)
    external_database_url(settings)
    smtp_password(settings)
    metrics_token(settings)
    if as_json:
        print_json({"file": str(layout.config), "valid": True})
    else:
        typer.echo(f"{layout.config} is valid.")


@app.command("show")
def show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print all settings in force, with the defaults; never a secret."""
    settings = settings_of(layout_of(data)).model_dump(mode="json")
    if as_json:
        print_json(settings)
    else:
        typer.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), nl=False)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of dachub.yaml, for editors."""
    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
