"""Write the configuration reference from the settings themselves, so that it cannot go stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dachub.config import Settings


def _nested(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside ``X``, ``X | None`` or ``tuple[X, ...]``, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _nested(argument)) is not None:
            return found
    return None


def _default(field: Any) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return "see below"
    return f"`{json.dumps(value, default=str)}`"


def _section(model: type[BaseModel], path: str, lines: list[str]) -> None:
    lines += [f"## `{path}`" if path else "", "", (model.__doc__ or "").strip(), ""]
    rows = []
    nested: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        inner = _nested(field.annotation)
        if inner is not None:
            nested.append((inner, key))
        if inner is None or field.description:
            rows.append(f"| `{name}` | {_default(field)} | {field.description or ''} |")
    if rows and path:
        lines += ["| key | default | meaning |", "|---|---|---|", *rows, ""]
    for inner, key in nested:
        _section(inner, key, lines)


def write_reference(app: Any) -> None:
    """Generate ``_generated/settings.md`` before Sphinx reads the sources."""
    lines: list[str] = []
    _section(Settings, "", lines)
    target = Path(app.srcdir) / "_generated" / "settings.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_reference)
    return {"parallel_read_safe": True}
