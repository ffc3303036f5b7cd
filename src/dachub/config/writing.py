"""Writes the first ``dachub.yaml``: every setting explained, with its default."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dachub.config.reading import section_in
from dachub.config.tree import Settings, SyntheticSettings


def bounds(field: FieldInfo) -> str:
    """What a setting may be, where its type allows more than it does; else nothing."""
    choices = _choices(field.annotation)
    if choices:
        return f"one of {', '.join(choices)}"
    limits = {
        name: limit
        for rule in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if (limit := getattr(rule, name, None)) is not None
    }
    if limits.keys() == {"ge", "le"}:
        return f"{limits['ge']} to {limits['le']}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return ", ".join(f"{words[name]} {limit}" for name, limit in limits.items())


def _choices(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(choice.value) for choice in annotation]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def commented_text() -> str:
    """Text of a first ``dachub.yaml``: every setting explained, with its default, commented out."""
    lines = [
        "## The configuration of dachub. Everything is optional: what is commented out shows the",
        "## default. To change a value take the first '#' away, of its section's line too; run",
        "## 'dachub config check'. Changes count from the next start on.",
    ]
    for name, field in Settings.model_fields.items():
        section = section_in(field.annotation)
        assert section is not None  # noqa: S101  every key at the top is a section
        if section is SyntheticSettings:  # only for instances, below
            continue
        lines += ["", f"## {(section.__doc__ or '').strip()}", f"#{name}:"]
        lines += _commented(section, "  ")
    lines += [
        "",
        "## Other instances of the platform, such as one for development: what differs from the",
        "## above, by name. See --instance of dachub deploy.",
        "#instances:",
        "#  dev:",
        "#    listen: {public_url: https://dev.dac.example.org}",
        "#    cluster: {namespace: dachub-dev}",
        "#    synthetic: {people: 20, groups: 4, weeks: 6}  # made up; only for instances",
    ]
    return "\n".join(lines) + "\n"


def _commented(section: type[BaseModel], indent: str) -> list[str]:
    lines: list[str] = []
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        allowed = f" ({said})" if (said := bounds(field)) else ""
        lines.append(f"#{indent}# {field.description}{allowed}")
        if inner is not None and isinstance(field.default, BaseModel | None):
            lines += [f"#{indent}{name}:", *_commented(inner, indent + "  ")]
            continue
        value = "..." if field.is_required() else _plain(field.get_default())
        text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=90)
        lines += [f"#{indent}{line}" for line in text.splitlines()]
    return lines


def _plain(value: object) -> object:
    """``value`` as YAML writes it, without what is unset anyway."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str | Path) else value
