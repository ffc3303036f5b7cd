"""``dachub backup``: everything that cannot be made again, in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from dachub.accounting.services.workers import BACKUP
from dachub.backup import archive
from dachub.backup.archive import BackupDamaged, Manifest
from dachub.backup.create import backups, create
from dachub.backup.restore import require_fitting, restored
from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import Columns, print_list
from dachub.cli.platform import database_url, layout_of, operate, settings_of
from dachub.infra.clock import SystemClock
from dachub.model.units import spoken_bytes
from dachub.server.factory import Process

app = typer.Typer(help="Back up and restore the platform.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="Where backups are kept.")]
File = Annotated[Path, typer.Argument(help="A backup.")]


class Kept(BaseModel):
    """A backup in a directory; without a manifest it is damaged."""

    file: str
    size_bytes: int
    manifest: Manifest | None = None


COLUMNS: Columns[Kept] = {
    "file": lambda kept: kept.file,
    "made (UTC)": lambda kept: kept.manifest and kept.manifest.created_at,
    "dachub": lambda kept: kept.manifest.version if kept.manifest else "DAMAGED",
    "schema": lambda kept: kept.manifest and kept.manifest.schema_revision,
    "size": lambda kept: spoken_bytes(kept.size_bytes),
    "parts": lambda kept: kept.manifest and [part.name for part in kept.manifest.parts],
}


@app.command("create")
def create_(
    directory: Directory,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Leave so many there; else all.")
    ] = None,
    without_secrets: Annotated[
        bool, typer.Option("--without-secrets", help="Leave the platform's secrets out.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Back up the running platform: all that cannot be made again, but not the homes."""
    layout = layout_of(data)
    url = database_url(layout, settings_of(layout))
    path = create(
        layout,
        url,
        directory.absolute(),
        SystemClock().now(),
        with_secrets=not without_secrets,
        keep=keep,
    )
    operate(data, lambda factory, _: factory.workers().record(BACKUP, path.name))
    secret = "; it holds secrets" if archive.read_manifest(path).has_secrets else ""
    typer.echo(f"{path} ({spoken_bytes(path.stat().st_size)}{secret})")


@app.command("list")
def list_(directory: Directory, as_json: JsonOption = False) -> None:
    """List the backups in a directory, newest first; their sums are not looked at."""
    rows = [_row(path) for path in backups(directory)]
    print_list(rows, COLUMNS, as_json=as_json, empty="There is none.")


@app.command("check")
def check(file: File) -> None:
    """Read all of a backup and compare its sums; exits with 1 if it cannot be restored."""
    typer.echo(f"{file} is whole: {_told(require_fitting(file))}.")


@app.command("restore")
def restore(
    file: File,
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose what is there; its outbox stays.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Put a backup back, with the platform stopped; checks all of it before it changes anything."""
    layout = layout_of(data)
    manifest = archive.read_manifest(file)
    with restored(layout, file, replace=replace) as url:
        why = f"the database was restored from a backup of {manifest.created_at:%Y-%m-%d %H:%M} UTC"
        process = Process.connect(settings_of(layout), url)

        async def doubt() -> None:
            try:
                async with process.factory() as services:
                    await services.enforcement().doubt(why)
            finally:
                await process.close()

        asyncio.run(doubt())
    start = "" if layout.is_borrowed else " with: dachub up"
    typer.echo(f"Restored: {_told(manifest)}. Start the platform{start}")


def _told(manifest: Manifest) -> str:
    names = ", ".join(part.name for part in manifest.parts)
    return f"{names}, of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, dachub {manifest.version}"


def _row(path: Path) -> Kept:
    size_bytes = path.stat().st_size
    try:
        return Kept(file=path.name, size_bytes=size_bytes, manifest=archive.read_manifest(path))
    except BackupDamaged:
        return Kept(file=path.name, size_bytes=size_bytes)
