"""Saved searches and a dashboard, for OpenSearch Dashboards and Kibana: one file of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Versions of the forms below, which either program brings up to its own.
FORMS = {
    "index-pattern": "7.6.0",
    "search": "7.9.3",
    "visualization": "7.10.0",
    "dashboard": "7.9.3",
}
SLOW_SECONDS = 120
PANEL_COLUMNS, PANEL_ROWS = 24, 12


@dataclass(frozen=True, slots=True)
class Search:
    """A search with the columns it shows; the query is Lucene's, which both programs know."""

    title: str
    query: str
    columns: tuple[str, ...]
    of_audit: bool = False


SEARCHES: Mapping[str, Search] = {
    "logins": Search(
        "Who logged in", 'event.action:"login"', ("user.name", "message"), of_audit=True
    ),
    "refused-logins": Search(
        "Refused logins", 'event.action:"login-refused"', ("user.name", "message"), of_audit=True
    ),
    "changes": Search(
        "Who changed what",
        'event.kind:event AND NOT event.action:("login" OR "login-refused")',
        ("user.name", "event.action", "user.target.name", "group.name"),
        of_audit=True,
    ),
    "failed-starts": Search(
        "Servers that did not start",
        'event.action:("server-failed" OR "server-refused")',
        ("user.name", "error.code", "error.message", "dachub.session.environment"),
    ),
    "slow-starts": Search(
        f"Starts that took over {SLOW_SECONDS} s",
        f'event.action:"server-started" AND event.duration:>{SLOW_SECONDS * 10**9}',
        ("user.name", "event.duration", "dachub.session.environment", "dachub.session.size"),
    ),
    "unwanted-ends": Search(
        "Servers that ended by themselves",
        'event.action:"server-ended" AND event.outcome:failure',
        ("user.name", "event.reason", "dachub.session.id"),
    ),
    "errors": Search(
        "Errors",
        "log.level:(error OR critical)",
        ("service.name", "service.version", "message", "http.request.id"),
    ),
}

_COUNT = {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}}
_TIME = {"id": "2", "enabled": True, "type": "date_histogram", "schema": "segment",
         "params": {"field": "@timestamp", "interval": "auto", "min_doc_count": 1}}  # fmt: skip
CHARTS: Mapping[str, tuple[str, str, str]] = {
    "errors-by-version": ("Errors by version", "errors", "service.version"),
    "failures-by-code": ("Failed starts by code", "failed-starts", "error.code"),
    "failures-by-environment": (
        "Failed starts by environment", "failed-starts", "dachub.session.environment",
    ),
    "slow-by-environment": (
        "Slow starts by environment", "slow-starts", "dachub.session.environment",
    ),
}  # fmt: skip


def saved_objects(prefix: str) -> str:
    """Index patterns, searches, charts and the dashboard, one a line; ids never change."""
    objects = [
        _object(prefix, "index-pattern", name, {"title": title, "timeFieldName": "@timestamp"})
        for name, title in (("all", f"{prefix}-*"), ("audit", f"{prefix}-audit-*"))
    ]
    objects += [_search(prefix, name, search) for name, search in SEARCHES.items()]
    objects += [_chart(prefix, name, *chart) for name, chart in CHARTS.items()]
    objects.append(_dashboard(prefix))
    return "".join(json.dumps(one, sort_keys=True) + "\n" for one in objects)


def _search(prefix: str, name: str, search: Search) -> dict[str, Any]:
    source = {
        "query": {"language": "lucene", "query": search.query},
        "filter": [],
        "indexRefName": "i",
    }
    attributes = {
        "title": f"{prefix}: {search.title}",
        "columns": list(search.columns),
        "sort": [["@timestamp", "desc"]],
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    pattern = "audit" if search.of_audit else "all"
    return _object(prefix, "search", name, attributes, {"i": ("index-pattern", pattern)})


def _chart(prefix: str, name: str, title: str, search: str, field: str) -> dict[str, Any]:
    largest = {"field": field, "orderBy": "1", "order": "desc", "size": 10}
    by_field = {"id": "3", "enabled": True, "type": "terms", "schema": "group", "params": largest}
    state = {
        "title": title,
        "type": "histogram",
        "params": {"type": "histogram", "addLegend": True, "addTooltip": True},
        "aggs": [_COUNT, _TIME, by_field],
    }
    attributes = {
        "title": f"{prefix}: {title}",
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "savedSearchRefName": "s",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps(
                {"query": {"language": "lucene", "query": ""}, "filter": []}
            )
        },
    }
    return _object(prefix, "visualization", name, attributes, {"s": ("search", search)})


def _dashboard(prefix: str) -> dict[str, Any]:
    shown = [("visualization", name) for name in CHARTS] + [("search", name) for name in SEARCHES]
    panels, references = [], {}
    for number, one in enumerate(shown):
        place = {
            "x": number % 2 * PANEL_COLUMNS,
            "y": number // 2 * PANEL_ROWS,
            "w": PANEL_COLUMNS,
            "h": PANEL_ROWS,
            "i": str(number),
        }
        panels.append(
            {"panelIndex": str(number), "gridData": place, "panelRefName": f"p{number}"}
            | {"embeddableConfig": {}}
        )
        references[f"p{number}"] = one
    attributes = {
        "title": f"{prefix}: logins, starts, errors",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True}),
        "timeRestore": True,
        "timeFrom": "now-7d",
        "timeTo": "now",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps(
                {"query": {"language": "lucene", "query": ""}, "filter": []}
            )
        },
    }
    return _object(prefix, "dashboard", "overview", attributes, references)


def _object(
    prefix: str,
    kind: str,
    name: str,
    attributes: dict[str, Any],
    references: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:
    return {
        "type": kind,
        "id": f"{prefix}-{name}",
        "migrationVersion": {kind: FORMS[kind]},
        "attributes": attributes,
        "references": [
            {"name": role, "type": of, "id": f"{prefix}-{target}"}
            for role, (of, target) in (references or {}).items()
        ],
    }
