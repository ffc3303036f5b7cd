"""Options that many commands share."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data directory; else DACHUB_DATA, else /var/lib/dachub as root and "
        "~/.local/share/dachub for others.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def moment(text: str) -> datetime:
    """A date or time in ISO 8601; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"'{text}' is no date or time such as 2026-03-01 or 2026-03-01T12:00."
        ) from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def month_start(today: date) -> datetime:
    """Midnight (UTC) at which the month of ``today`` began."""
    return datetime(today.year, today.month, 1, tzinfo=UTC)


SinceOption = Annotated[
    datetime | None,
    typer.Option("--since", parser=moment, metavar="TIME", help="From then on (UTC), inclusive."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", parser=moment, metavar="TIME", help="Up to then (UTC), exclusive."),
]
UserOption = Annotated[str | None, typer.Option("--user", help="Only this person.")]
GroupOption = Annotated[str | None, typer.Option("--group", help="Only this group.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration; else dachub.yaml here, else that of the data directory.",
        show_default=False,
    ),
]
InstanceOption = Annotated[
    str | None,
    typer.Option(
        "--instance",
        help="One of the configuration's instances, such as dev; else the main one.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
