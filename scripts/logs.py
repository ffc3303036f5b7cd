"""What of logs is written in other places than the program: patterns, fields."""

from __future__ import annotations

import yaml

from dachub.model.logs import LOG_FIELDS, SECRET_NAME, SECRET_PATTERNS


def known() -> str:
    """Patterns of secrets and the fields of the index, for the script of Filebeat."""
    given = {
        "names": SECRET_NAME,
        "secrets": list(SECRET_PATTERNS),
        # No mapping: Filebeat would take dots in its keys for levels.
        "fields": [f"{name} {field.type}" for name, field in LOG_FIELDS.items()],
    }
    text = yaml.safe_dump(given, width=1000, sort_keys=False)
    return f"# Written by `make reference`, of dachub/model/logs.py.\n{text}"


def fields() -> str:
    """The fields that can be searched, as a table."""
    rows = [f"| `{name}` | {field.type} | {field.meaning} |" for name, field in LOG_FIELDS.items()]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows, ""])
