"""Lines of all parts, through a real Filebeat, are found in a real OpenSearch; secrets are not."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.harness.logstore import Logstash, Node, OpenSearch, ecs, opensearch
from tests.harness.waiting import until
from tests.model.test_logs import HARMLESS, HOSTILE, JWT, SECRET

from dachub.config import parse
from dachub.deploy.logging.documents import documents
from dachub.deploy.logging.searches import SEARCHES
from dachub.hub import starts
from dachub.hub.clock import now
from dachub.hub.logs import EcsFormatter
from dachub.model.sessions import EndReason, SessionDescription

PORT = 9264
SERVICE_LINES = """
import structlog
from dachub.infra.logging import configure_logging
configure_logging(None)
log = structlog.get_logger("dachub.access")
log.info("request", method="GET", path="/services/dac/api/v1/me", status=200, milliseconds=12.5,
         username="ada", request_id="31a2f8d1687747faacb90ecf77705f5a")
log.debug("nobody wants to read this")
try:
    raise ValueError("inner")
except ValueError:
    log.exception("worker failed", worker="mails", api_token="abcdefghijklmnopqrstuvw")
structlog.get_logger("dachub.audit").info("hub: login", **{
    "@timestamp": "2026-11-03T09:00:00+00:00", "event.dataset": "dachub.audit",
    "event.kind": "event", "event.id": "17", "event.action": "login",
    "event.outcome": "success", "user.name": "ada", "dachub.details": {"issuer": "https://idp"}})
"""
PROXY_LINES = (
    "2026-11-24T14:17:14.091Z [ConfigProxy] \x1b[32minfo\x1b[39m: Adding route /user/ada -> http://10.0.0.1:8888",
    "2026-11-24T14:17:15.579Z [ConfigProxy] \x1b[32minfo\x1b[39m: 201 POST /api/routes/user/ada ",
    "2026-11-24T14:17:16.000Z [ConfigProxy] \x1b[34mdebug\x1b[39m: PROXY WEB /user/ada/lab",
    "2026-11-24T14:17:17.000Z [ConfigProxy] \x1b[31merror\x1b[39m: 503 GET /user/ada/ refused",
)
TRACEBACK = """Traceback (most recent call last):
  File "/usr/local/bin/jupyterhub", line 8, in <module>
    sys.exit(main())
KeyError: 'DACHUB_HUB_SETTINGS'"""
POSTGRES_LINES = (
    "2026-11-24 14:17:01.298 UTC [1] LOG:  database system is ready to accept connections",
    '2026-11-24 14:18:01.298 UTC [7] FATAL:  password authentication failed for user "dachub"',
    "2026-11-24 14:18:02.298 UTC [7] DEBUG:  nothing",
)
SESSION = SessionDescription(
    session_id=UUID("0199b1c2-7a5e-7000-8000-0123456789ab"),
    username="ada",
    group="virgo",
    size="small",
    environment="astronomy:2026-11-20",
    milli_cores=1000,
    memory_bytes=2**31,
    requested_at=now() - timedelta(seconds=300),
)


def hub_lines() -> list[str]:
    """A slow start, a failed one and an end, as the hub writes them."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Kept()
    handler.setFormatter(EcsFormatter())
    starts.log.addHandler(handler)
    starts.log.setLevel(logging.INFO)
    starts.tell(starts.Action.REQUESTED, SESSION)
    starts.tell(starts.Action.IMAGE, SESSION, step="image")
    starts.tell(starts.Action.STARTED, SESSION)
    starts.tell_end(SESSION, EndReason.LOST)
    starts.tell_failure("bob", None, RuntimeError("no"))
    starts.log.removeHandler(handler)
    return lines


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    with opensearch(tmp_path_factory.mktemp("opensearch"), PORT) as running:
        settings = parse(f"logs: {{store: {{url: '{running.url}', replicas: 0}}}}", "x")
        for wanted in documents(settings):
            if wanted.path.startswith("_index_template"):
                running.ask("PUT", f"/{wanted.path}", wanted.body)
        yield running


@pytest.fixture
def empty(store: OpenSearch) -> OpenSearch:
    store.ask("DELETE", "/dachub-*?expand_wildcards=all")
    return store


@pytest.fixture
def logstash(empty: OpenSearch) -> Iterator[Logstash]:
    with Logstash(empty) as running:
        yield running
        running.shutdown()


@pytest.fixture
def node(tmp_path: Path, logstash: Logstash) -> Iterator[Node]:
    made = Node(tmp_path / "node", logstash.port)
    yield made
    made.kill()


def shipped(store: OpenSearch, count: int) -> list[dict[str, Any]]:
    """All that is found, once it is so much."""
    try:
        until(lambda: len(store.find()) >= count, f"{count} lines are found", 60, pause_seconds=1)
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {len(store.find())}") from error
    return store.find()


def test_lines_of_every_part_are_found_by_what_they_say(node: Node, empty: OpenSearch) -> None:
    service = subprocess.run(
        [sys.executable, "-c", SERVICE_LINES], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    node.write("dachub-6c7b78f88d-hqbwg", "service", *service)
    node.write("hub-ddf5d5776-d6bls", "hub", *hub_lines(), TRACEBACK, "Loading /etc/hub.yaml")
    node.write("proxy-64f4454b99-dh8j6", "chp", *PROXY_LINES)
    node.write("dachub-postgres-0", "postgres", *POSTGRES_LINES)
    # Neither people's servers, nor other namespaces, nor Filebeat itself.
    node.write("jupyter-ada", "notebook", "ada's secret thoughts")
    node.write("hub-1", "hub", ecs(message="another's"), namespace="dac-dev")
    node.write("dachub-logs-x", "filebeat", "of itself")
    node.start()
    found = shipped(empty, 15)
    assert {one["orchestrator"]["namespace"] for one in found} == {"dac"}
    assert {one["_index"].rpartition("-")[0] for one in found} == {
        f"dachub-{kind}" for kind in ("service", "hub", "proxy", "servers", "audit", "database")
    }
    assert not [one for one in found if one["log"]["level"].startswith("debug")]
    assert len(found) == 15

    (request,) = empty.find('http.request.id:"31a2f8d1687747faacb90ecf77705f5a"')
    assert request["user"]["name"] == "ada"
    assert request["event"]["duration"] == 12_500_000
    (failed,) = empty.find("error.stack_trace:ValueError")
    assert failed["dachub"] == {"worker": "mails", "api_token": "[hidden]"}
    (login,) = empty.find("event.action:login", "dachub-audit-*")
    assert login["_index"] == "dachub-audit-2026.11"
    assert login["@timestamp"].startswith("2026-11-03T09:00:00")
    assert login["dachub"]["details"] == {"issuer": "https://idp"}
    (crash,) = empty.find("error.stack_trace:DACHUB_HUB_SETTINGS", "dachub-hub-*")
    assert crash["message"] == "KeyError: 'DACHUB_HUB_SETTINGS'"
    assert crash["log"]["level"] == "error"
    assert len(empty.find('dachub.session.id:"0199b1c2-7a5e-7000-8000-0123456789ab"')) == 4
    (route,) = empty.find("http.response.status_code:503", "dachub-proxy-*")
    assert (route["log"]["level"], route["url"]["path"]) == ("error", "/user/ada/")
    (fatal,) = empty.find("log.level:critical", "dachub-database-*")
    assert "authentication failed" in fatal["message"]

    for name, expected in {
        "logins": 1, "refused-logins": 0, "changes": 0, "failed-starts": 1, "slow-starts": 1,
        "unwanted-ends": 1, "errors": 4,
    }.items():  # fmt: skip
        search = SEARCHES[name]
        index = "dachub-audit-*" if search.of_audit else "dachub-*"
        assert len(empty.find(search.query, index)) == expected, name


def test_secrets_do_not_leave_the_node_whatever_holds_them(node: Node, empty: OpenSearch) -> None:
    hostile = [line for line in HOSTILE if "\n" not in line]
    node.write("hub-1", "hub", *hostile)
    node.write("hub-1", "hub", *(ecs(message=line, **{"error.message": line}) for line in HOSTILE))
    node.write(
        "hub-1", "hub", ecs(message="nested", dachub={"a": {"password": SECRET, "b": [JWT]}})
    )
    node.write("hub-1", "hub", ecs(message="{not json", **{"event.dataset": "dachub.audit.x"}))
    node.write("hub-1", "hub", *HARMLESS[:4])
    node.start()
    found = shipped(empty, len(hostile) + len(HOSTILE) + 6)
    kept = json.dumps(found)
    for secret in (SECRET, JWT, "MIIEMIIE", "ghp_abc", "with a blank"):
        assert secret not in kept
    messages = {one["message"] for one in found}
    assert set(HARMLESS[:4]) <= messages


def test_a_pipeline_that_fails_lets_no_line_out_as_it_is(node: Node, empty: OpenSearch) -> None:
    script = node.directory / "pipeline.js"
    script.write_text(script.read_text().replace("straighten(event);", "broken(event);", 1))
    node.write("hub-1", "hub", ecs(message=f"token={SECRET}", user={"name": SECRET}))
    node.start()
    (left_out,) = shipped(empty, 1)
    assert "left out" in left_out["message"]
    assert SECRET not in json.dumps(left_out)


def test_hostile_fields_make_no_new_ones_and_lose_no_line(node: Node, empty: OpenSearch) -> None:
    many = {f"field{number}": number for number in range(3000)}
    node.write("hub-1", "hub", ecs(message="many", dachub=many))
    node.write("hub-1", "hub", ecs(message="another day", field1={"a": "not a number"}))
    node.write("hub-1", "hub", ecs(message="x" * 150_000))
    node.write("hub-1", "hub", '{"message": "cut off')
    node.write("hub-1", "hub", ecs(message={"a": 1}, user="ada", error={"message": [1]}, event=7))
    node.write("hub-1", "hub", ecs(message="wrong", **{"process.pid": "x", "@timestamp": "never"}))
    node.start()
    assert len(shipped(empty, 6)) == 6
    mapped = empty.ask("GET", "/dachub-hub-*/_mapping")
    assert "field1" not in json.dumps(mapped)


def test_a_store_that_is_away_loses_nothing_nor_does_a_killed_filebeat(
    node: Node, empty: OpenSearch, logstash: Logstash
) -> None:
    logstash.is_away = True
    node.write("hub-1", "hub", *(ecs(message=f"early {number}") for number in range(500)))
    node.start()
    until(lambda: "Failed to publish" in node.said(), "Filebeat notices", 60)
    node.kill()
    node.write("hub-1", "hub", *(ecs(message=f"late {number}") for number in range(500)))
    logstash.is_away = False
    node.start()
    until(lambda: len(empty.find()) >= 600, "much is there", 60)
    node.kill()  # in the middle, before it wrote down how far it is
    node.start()
    found = shipped(empty, 1000)
    assert len({one["message"] for one in found}) == len(found) == 1000
