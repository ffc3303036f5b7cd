"""Write the pages of the documentation that are made of the program itself: ``make reference``.

They are kept beside the others, for whoever reads them where the source is; a test fails when they
are not what this would write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from scripts import chart, dashboard, logs

from dachub.cli.main import app
from dachub.config import Settings, bounds, section_in
from dachub.server import access

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS = """# Commands

Every command of `dachub`; `--help` shows the same. They work on the machine of the platform, as
its operator, straight on its database. Errors go to the error output with a stable code in
brackets, and the exit status is 1.
"""
CONFIGURATION = """# Configuration

Everything is one file, `dachub.yaml`, in the data directory. It is written with comments on first
run; what is not in it keeps the default named here.

```
dachub config check     # is the file good? Every mistake at once, with the nearest known key
dachub config show      # what is in force, defaults included; secrets are never shown
dachub config schema    # JSON Schema, for editors
```

An unknown key is an error, not a silent no-op. Secrets do not stand in this file: they come from a
file (mode 0600) or from the environment, as said at each key. A change takes effect at the next
`dachub up`.
"""


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join([COMMANDS, *_described(typer.main.get_command(app), "dachub")])


def _described(group: Any, words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _described(command, f"{words} {name}")
        else:
            yield _command(f"{words} {name}", command)


def _command(typed: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    names = " ".join([typed, *(str(each.name).upper() for each in arguments)])
    rows = [
        f"| `{', '.join(each.opts)}`{' (required)' if each.required else ''} "
        f"| {_cell(getattr(each, 'help', None) or '')} |"
        for each in command.params
        if each.name != "help"
    ]
    table = ["| argument or option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## `{names}`", "", _cell(command.help or ""), "", *table])


def configuration() -> str:
    """Every setting with its default, and what it may be."""
    return "\n".join([CONFIGURATION, *_sections(Settings, "")])


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    if path:
        yield f"## `{path}`\n\n{(model.__doc__ or '').strip()}\n"
    inner = {name: section_in(field.annotation) for name, field in model.model_fields.items()}
    rows = [
        f"| `{name}` | {_default(field)} | {bounds(field)} | {_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
        if inner[name] is None or field.description
    ]
    if path and rows:
        yield "\n".join(["| key | default | allowed | meaning |", "|---|---|---|---|", *rows, ""])
    for name, section in inner.items():
        if section is not None:
            yield from _sections(section, f"{path}.{name}" if path else name)


def _default(field: Any) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return "see below"
    return f"`{json.dumps(value, default=str)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# By where they lie from docs/.
PAGES: Mapping[str, Callable[[], str]] = {
    "../deploy/chart/files/logging/known.yaml": logs.known,
    "../deploy/chart/files/watching/dashboard.json": dashboard.page,
    "../deploy/chart/values.schema.json": chart.schema,
    "access.md": access.page,
    "chart.md": chart.page,
    "commands.md": commands,
    "configuration.md": configuration,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
