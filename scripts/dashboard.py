"""The Grafana dashboard, made of the table of its panels in ``dashboard.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from scripts.chart import written

PANELS = Path(__file__).with_suffix(".yaml")
COLUMNS = 24
# kind in the table -> (Grafana's type, width, height)
KINDS = {"number": ("stat", 4, 4), "graph": ("timeseries", 12, 8)}
HERE = 'namespace=~"$namespace"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def page() -> str:
    """The dashboard as Grafana imports it."""
    return written(model()) + "\n"


def model() -> dict[str, Any]:
    """Grafana's model of it."""
    return {
        "uid": "dachub",
        "title": "dachub",
        "tags": ["dachub"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_datasource(), _namespace()]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_placed(), start=1)],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _namespace() -> dict[str, Any]:
    query = "label_values(dachub_build_info, namespace)"
    return {
        "name": "namespace",
        "label": "Instance",
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "namespace"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",  # one machine has no namespace
        "current": {"text": "All", "value": "$__all"},
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Rows, and their panels from left to right."""
    y = 0
    for row in yaml.safe_load(PANELS.read_text(encoding="utf-8")):
        yield {"type": "row", "title": row["row"], "gridPos": _place(0, y, COLUMNS, 1)}
        x, y, height = 0, y + 1, 0
        for panel in row["panels"]:
            (kind,) = panel.keys() & KINDS
            drawn, width, height = KINDS[kind]
            if x + width > COLUMNS:
                x, y = 0, y + height
            yield _panel(drawn, panel[kind], panel) | {"gridPos": _place(x, y, width, height)}
            x += width
        y += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(kind: str, title: str, panel: dict[str, Any]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if "red_from" in panel:
        steps.append({"color": "red", "value": panel["red_from"]})
    return {
        "type": kind,
        "title": title,
        "description": panel["about"],
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.get("unit", "short"),
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query.replace("HERE", HERE),
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel["queries"].items())
        ],
    }
