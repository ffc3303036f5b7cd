"""Write the reference of commands from the commands themselves, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from dachub.cli.main import app as commands


def _commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command there is, as it is typed."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _reference() -> Iterator[str]:
    for typed, command in _commands(typer.main.get_command(commands), "dachub"):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        names = " ".join(str(each.name).upper() for each in arguments)
        yield f"## `{f'{typed} {names}'.strip()}`\n\n{_cell(command.help or '')}\n"
        rows = [
            f"| `{', '.join(each.opts)}`{' (required)' if each.required else ''} "
            f"| {_cell(getattr(each, 'help', None) or '')} |"
            for each in command.params
            if each.name != "help"
        ]
        if rows:
            yield "\n".join(["| argument or option | meaning |", "|---|---|", *rows]) + "\n"


def write_reference(app: Any) -> None:
    """Generate ``_generated/commands.md`` before Sphinx reads the sources."""
    target = Path(app.srcdir) / "_generated" / "commands.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(_reference()))


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_reference)
    return {"parallel_read_safe": True}
