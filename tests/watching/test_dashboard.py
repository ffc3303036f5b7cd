"""The dashboard: a model that Grafana takes, queries that Prometheus understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from tests.harness.prometheus import DASHBOARD, promtool

MODEL: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS: list[dict[str, Any]] = MODEL["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]


def queries() -> list[str]:
    """What the panels ask, with values for Grafana's variables."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*")
        for panel in SHOWN
        for target in panel["targets"]
    ]


def test_it_is_found_by_one_name_and_asks_the_prometheus_that_is_chosen() -> None:
    assert (MODEL["uid"], MODEL["title"]) == ("dachub", "dachub")
    first, second = MODEL["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    sources = [second["datasource"], *(panel["datasource"] for panel in SHOWN)]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_each_panel_has_a_number_and_a_place_of_its_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_each_panel_says_what_it_shows() -> None:
    assert len({panel["title"] for panel in SHOWN}) == len(SHOWN) > 20
    for panel in SHOWN:
        assert panel["description"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)) != []


def test_every_query_is_one(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries())]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)
    assert not [query for query in queries() if "$" in query or "HERE" in query]
