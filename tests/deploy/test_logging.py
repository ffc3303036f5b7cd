"""A store of logs is made ready, once; what is kept how long comes from dachub.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from scripts import logs
from tests.harness.helm import CHART, ROOT, Helm
from typer.testing import CliRunner

from dachub.cli.main import app
from dachub.config import Settings, parse
from dachub.deploy.logging.documents import documents, mappings
from dachub.deploy.logging.searches import SEARCHES, saved_objects
from dachub.deploy.logging.store import LogStoreRefused, prepare
from dachub.model.logs import LOG_FIELDS, SECRET_NAME, SECRET_PATTERNS, LogKind

PASSWORD = "a-password-of-the-tests"


class FakeStore(ThreadingHTTPServer):
    """Keeps what it is given, as OpenSearch and Elasticsearch do; dashboards too."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.imported = ""
        self.refuses: int | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeStore

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._do()

    def do_PUT(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def _do(self) -> None:
        given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.command, self.path))
        if self.server.refuses is not None:
            self._answer(self.server.refuses, {"error": "no"})
        elif path == "/api/saved_objects/_import":
            assert self.headers["osd-xsrf"] == self.headers["kbn-xsrf"] == "true"
            self.server.imported = given.decode()
            self._answer(200, {"success": True, "successCount": given.count(b'"migrationVersion"')})
        elif self.command == "GET":
            found = self.server.kept.get(path)
            self._answer(404 if found is None else 200, found)
        elif self.command == "POST":
            self._answer(404, {"error": "no such index"})
        elif "_ism" in path and path in self.server.kept and "if_seq_no=3" not in query:
            self._answer(409, {"error": "version conflict"})
        else:
            numbers = {"_seq_no": 3, "_primary_term": 1} if "_ism" in path else {}
            self.server.kept[path] = json.loads(given) | numbers
            self._answer(200, {"acknowledged": True})


@pytest.fixture
def store() -> Iterator[FakeStore]:
    with FakeStore() as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def settings(store: FakeStore, kind: str, hub_days: int = 14) -> Settings:
    return parse(
        yaml.safe_dump(
            {
                "privacy": {"logs_days": 60, "audit_days": None},
                "logs": {
                    "retention_days": {"hub": hub_days},
                    "store": {"kind": kind, "url": store.url, "dashboards_url": store.url},
                },
            }
        ),
        "dachub.yaml",
    )


def outcomes(given: Settings) -> dict[str, str]:
    return {outcome.what: outcome.result for outcome in prepare(given)}


@pytest.mark.parametrize("kind", ["opensearch", "elasticsearch"])
def test_all_is_made_once_and_what_changed_is_changed(store: FakeStore, kind: str) -> None:
    first = outcomes(settings(store, kind))
    assert set(first.values()) == {"made"}
    assert first["policy dachub-hub: deleted after 14 days"] == "made"
    assert first["policy dachub-proxy: deleted after 60 days"] == "made"
    assert first["policy dachub-audit: kept for ever"] == "made"
    again = outcomes(settings(store, kind))
    assert {what for what, result in again.items() if result != "unchanged"} == {
        what for what in again if "dashboards" in what
    }
    assert [what for what, result in outcomes(settings(store, kind, 7)).items()
            if result == "changed"] == ["policy dachub-hub: deleted after 7 days"]  # fmt: skip


def test_each_store_gets_its_own_words_for_the_same_term(store: FakeStore) -> None:
    ism = {w.path: w.body for w in documents(settings(store, "opensearch"))}
    states = ism["_plugins/_ism/policies/dachub-hub"]["policy"]["states"]
    assert states[0]["transitions"][0]["conditions"] == {"min_index_age": "14d"}
    assert states[1]["actions"] == [{"delete": {}}]
    assert len(ism["_plugins/_ism/policies/dachub-audit"]["policy"]["states"]) == 1
    ilm = {w.path: w.body for w in documents(settings(store, "elasticsearch"))}
    assert ilm["_ilm/policy/dachub-hub"]["policy"]["phases"]["delete"]["min_age"] == "14d"
    template = ilm["_index_template/dachub-hub"]["template"]["settings"]
    assert template["index.lifecycle.name"] == "dachub-hub"
    assert "index.lifecycle.name" not in str(ism)


def test_the_index_knows_every_field_and_makes_no_others() -> None:
    made = mappings()
    assert made["dynamic"] is False
    assert made["properties"].keys() == LOG_FIELDS.keys() | {"dachub.details"}


@pytest.mark.parametrize(("status", "told"), [(401, "logs.store.username"), (500, "HTTP 500")])
def test_what_a_store_refuses_is_said(store: FakeStore, status: int, told: str) -> None:
    store.refuses = status
    with pytest.raises(LogStoreRefused, match=told):
        outcomes(settings(store, "opensearch"))


def test_a_store_that_is_away_is_said(store: FakeStore) -> None:
    given = settings(store, "opensearch")
    store.shutdown()
    store.server_close()
    with pytest.raises(LogStoreRefused, match=r"does not answer.*Check logs\.store"):
        outcomes(given)


def test_the_command_prints_what_it_does(store: FakeStore, tmp_path: Path) -> None:
    path = tmp_path / "dachub.yaml"
    (tmp_path / "password").write_text(PASSWORD)
    path.write_text(
        f"logs: {{store: {{url: '{store.url}', username: dachub, password_file: password}}}}\n"
    )
    said = CliRunner().invoke(app, ["deploy", "logging", "--config", str(path)])
    assert said.exit_code == 0, said.output
    assert "index template dachub-audit: made" in said.output
    assert PASSWORD not in said.output
    said = CliRunner().invoke(app, ["deploy", "logging", "--config", str(path), "--json"])
    assert {one["result"] for one in json.loads(said.output)} == {"unchanged"}


def test_searches_ask_only_for_fields_that_can_be_searched() -> None:
    objects = [json.loads(line) for line in saved_objects("dachub").splitlines()]
    known = {(one["type"], one["id"]) for one in objects}
    for one in objects:
        assert {(r["type"], r["id"]) for r in one["references"]} <= known
    for search in SEARCHES.values():
        assert set(search.columns) <= LOG_FIELDS.keys()
        named = {
            word.strip('()"').partition(":")[0] for word in search.query.split() if ":" in word
        }
        assert named <= LOG_FIELDS.keys()
    assert all(one["id"].startswith("dachub-") for one in objects)


def test_every_field_stands_in_the_documentation() -> None:
    assert logs.fields() in (ROOT / "docs" / "logs.md").read_text()


def test_the_shipper_hides_by_the_same_patterns() -> None:
    given = yaml.safe_load((CHART / "files/logging/known.yaml").read_text())
    assert (given["names"], given["secrets"]) == (SECRET_NAME, list(SECRET_PATTERNS))
    assert [each.split()[0] for each in given["fields"]] == list(LOG_FIELDS)
    script = (CHART / "files/logging/pipeline.js").read_text()
    known = script[script.index("var KNOWN") :].partition(";")[0]
    assert all(f"{kind}: 1" in known for kind in LogKind)


def test_the_chart_ships_nothing_unless_it_is_told() -> None:
    helm = Helm.found()
    assert "DaemonSet" not in {one["kind"] for one in helm.objects()}
    output = {"kind": "elasticsearch", "hosts": ["https://search.example.org:9200"]}
    given = {"logging": {"enabled": True, "output": output | {"secret": "logs"}}}
    objects = helm.objects(given)
    pod = objects.one("DaemonSet", "dachub-logs")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not pod["automountServiceAccountToken"]
    writable = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"registry", "tmp"}
    config = yaml.safe_load(objects.one("ConfigMap", "dachub-logs")["data"]["filebeat.yml"])
    assert config["output.elasticsearch"]["password"] == "${DACHUB_LOGS_PASSWORD}"
    assert all("/dac_" in path for path in config["filebeat.inputs"][0]["paths"])
    nowhere = helm.template({"logging": {"enabled": True}})
    assert nowhere.returncode != 0
    assert "hosts" in nowhere.stderr
