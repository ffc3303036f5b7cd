"""``dachub storage``: what people and groups keep on disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from dachub.cli.options import DataOption, JsonOption, SinceOption, UntilOption
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import operate
from dachub.model.problems import InvalidInput
from dachub.model.storage import StorageArea, StorageLimit, StorageSample, StorageUse
from dachub.model.units import spoken_bytes

app = typer.Typer(help="What people and groups keep on disk.", no_args_is_help=True)
Owner = Annotated[str, typer.Argument(help="A username, or with --group a group.")]
IsGroup = Annotated[bool, typer.Option("--group", help="The folder of a group.")]

HISTORY_DAYS = 30


def _size(limit_bytes: int | None) -> str | None:
    return None if limit_bytes is None else spoken_bytes(limit_bytes)


LIST: Columns[StorageUse] = {
    "area": lambda use: use.area,
    "owner": lambda use: use.owner if use.known else f"{use.owner} (nobody's)",
    "on disk": lambda use: use.sample and spoken_bytes(use.sample.allocated_bytes),
    "limit": lambda use: _size(use.limit_bytes),
    "files": lambda use: use.sample and use.sample.files,
    "file limit": lambda use: use.limit_files,
    "state": lambda use: use.state,
    "measured": lambda use: use.sample and use.sample.sampled_at,
}
DETAILS: Columns[StorageUse] = {
    **LIST,
    "lengths of files": lambda use: use.sample and spoken_bytes(use.sample.bytes),
    "not readable": lambda use: use.sample and use.sample.unreadable,
    "method": lambda use: use.sample and use.sample.method,
    "enforced": lambda use: use.enforced,
    "largest folders": lambda use: [
        f"{folder.path} {spoken_bytes(folder.allocated_bytes)}" for folder in use.largest
    ],
}
HISTORY: Columns[StorageSample] = {
    "measured": lambda sample: sample.sampled_at,
    "on disk": lambda sample: spoken_bytes(sample.allocated_bytes),
    "lengths of files": lambda sample: spoken_bytes(sample.bytes),
    "files": lambda sample: sample.files,
    "method": lambda sample: sample.method,
}
LIMITS: Columns[StorageLimit] = {
    "at": lambda limit: limit.at,
    "bytes": lambda limit: _size(limit.bytes) or "the site's",
    "files": lambda limit: "the site's" if limit.files is None else limit.files,
    "by": lambda limit: limit.author,
    "reason": lambda limit: limit.reason,
}


def _area(is_group: bool) -> StorageArea:
    return StorageArea.GROUP if is_group else StorageArea.HOME


@app.command("list")
def list_storage(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all homes and group folders, those of nobody too, the fullest first."""
    uses = operate(data, lambda factory, by: factory.storage().now(by))
    fullest = sorted(uses, key=lambda use: -(use.sample.allocated_bytes if use.sample else 0))
    print_list(fullest, LIST, as_json=as_json, empty="Nothing was measured yet.")


@app.command("show")
def show(
    owner: Owner, group: IsGroup = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show what a place holds, and its largest folders."""
    (use,) = operate(
        data, lambda factory, by: factory.storage().now(by, area=_area(group), owner=owner)
    )
    print_one(use, DETAILS, as_json=as_json)


@app.command("history")
def history(
    owner: Owner,
    group: IsGroup = False,
    since: SinceOption = None,
    until: UntilOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a place held; without a period in the last 30 days."""
    until = until or datetime.now(UTC) + timedelta(seconds=1)
    begin = since or until - timedelta(days=HISTORY_DAYS)
    samples = operate(
        data,
        lambda factory, by: factory.storage().history(by, _area(group), owner, begin, until),
    )
    print_list(samples, HISTORY, as_json=as_json, empty="Nothing was measured then.")


@app.command("sample")
def sample(
    owner: Owner, group: IsGroup = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Let a place be measured anew, by the running service."""
    use = operate(data, lambda factory, by: factory.storage().resample(by, _area(group), owner))
    print_one(use, DETAILS, as_json=as_json)
    if not as_json:
        typer.echo("It will be measured within seconds. See: dachub storage show")


@app.command("quota")
def quota(
    owner: Owner,
    group: IsGroup = False,
    size: Annotated[
        str | None, typer.Option("--bytes", help="May be on disk, such as 50GiB; homes only.")
    ] = None,
    files: Annotated[int | None, typer.Option("--files", min=0, help="May be there.")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; kept beside the limit for ever.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set what a place may hold, or list how that came to be.

    With a reason: the site's limits count again for what is not given. What a group may have on
    disk is an allocation: dachub allocation add GROUP BYTES --resource file-bytes.
    """
    if reason is None:
        if size is not None or files is not None:
            raise InvalidInput("Give the reason with --reason: it stands beside the limit.")
        limits = operate(
            data, lambda factory, by: factory.storage_limits().history(by, _area(group), owner)
        )
        print_list(limits, LIMITS, as_json=as_json, empty="The site's limits.")
        return
    why, limit_bytes = reason, None if size is None else _bytes(size)
    limit = operate(
        data,
        lambda factory, by: factory.storage_limits().set(
            by, _area(group), owner, limit_bytes=limit_bytes, limit_files=files, reason=why
        ),
    )
    print_one(limit, LIMITS, as_json=as_json)


def _bytes(text: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise InvalidInput(f"'{text[:40]}' is no size such as 500MB, 50GiB or 2TiB.") from error
