"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = TypeVar("Row", bound=BaseModel)
Columns = Mapping[str, Callable[[Row], object]]
PIPE_WIDTH = 240
"""Characters in a line where nobody's terminal sets the width."""


def shown(value: object) -> str:
    """``value`` for a person; control characters of hostile names do not reach the terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value) or "-"
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value)
    )


def print_json(value: object) -> None:
    """Print a model, a list of models, or plain data."""
    if isinstance(value, BaseModel):
        plain: object = value.model_dump(mode="json")
    elif isinstance(value, list):
        plain = [
            item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in value
        ]
    else:
        plain = value
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False, default=str))


def print_list(
    rows: Sequence[Row], columns: Columns[Row], *, as_json: bool, empty: str = "Nothing found."
) -> None:
    """Print many of a kind: one a line."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        typer.echo(empty)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in columns:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(value(row))) for value in columns.values()))
        _console().print(table)


def print_one(row: Row, fields: Columns[Row], *, as_json: bool) -> None:
    """Print one thing: a field a line."""
    if as_json:
        print_json(row)
        return
    width = max(len(title) for title in fields)
    for title, value in fields.items():
        typer.echo(f"{title:<{width}}  {shown(value(row))}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
