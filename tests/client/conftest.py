"""A small real HTTP server that speaks the wire models, and a client on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from pydantic import BaseModel

from dachub.client import DAC
from dachub.client.connection import API_PATH
from dachub.model.people import Affiliation, Group, GroupMembership, Person, Role, Source
from dachub.model.sessions import Kind, SessionRecord
from dachub.model.usage import GroupBalance, StartOptions, Usage, UsageReport, UsageRow

TOKEN = "a-token-of-ada"
START = datetime(2026, 11, 1, tzinfo=UTC)
SESSION_ID = UUID(int=7)
HUGE = 3 * 2**63  # more than 64 bits hold

PERSON = Person(
    username="ada",
    full_name="Ada <b>Lovelace</b>",
    email="ada@example.org",
    issuer="local",
    administrator=False,
    disabled_at=None,
    disabled_reason=None,
    created_at=START,
    last_login_at=START,
    affiliations=[
        Affiliation(
            value="member@example.org",
            asserted_by="local",
            first_asserted_at=START,
            last_asserted_at=START,
            current=True,
            stale=True,
        )
    ],
    groups=[GroupMembership(group="ztf", title="ZTF", role=Role.PI, source=Source.LOCAL)],
)
REPORT = UsageReport(
    since=START,
    until=START.replace(day=30),
    counted_to=START.replace(day=3),
    by=["day"],
    rows=[
        UsageRow(day=date(2026, 11, 1), milli_core_seconds=900_000, memory_byte_seconds=5),
        UsageRow(day=date(2026, 11, 2), milli_core_seconds=1, memory_byte_seconds=HUGE),
    ],
    total=Usage(milli_core_seconds=900_001, memory_byte_seconds=HUGE + 5),
)
SESSION = SessionRecord(
    session_id=SESSION_ID,
    export_id=1,
    username="ada",
    group="ztf",
    kind=Kind.NOTEBOOK,
    server_name="",
    size="small",
    environment="astronomy",
    milli_cores=1000,
    memory_bytes=2**31,
    gpus=0,
    requested_at=START,
    started_at=START,
    ended_at=None,
    end_reason=None,
    end_is_estimate=False,
    last_seen_at=None,
    state="running",
    core_seconds=1800.0,
)
BALANCE = GroupBalance(
    group="ztf", title="ZTF", used=3_600_000, allocated=36_000_000, left=32_400_000
)
GROUP = Group(
    slug="ztf", title="ZTF", description="", provider_name=None, created_at=START, pis=["ada"]
)


class Service:
    """Answers of the service; a test may put others in their place."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.queries: list[tuple[str, dict[str, list[str]]]] = []
        self.put("/me", PERSON)
        self.put("/usage", REPORT)
        self.put("/me/start-options", StartOptions(groups=[BALANCE]))
        self.put(f"/sessions/{SESSION_ID}", SESSION)
        self.put_json("/sessions", [SESSION.model_dump(mode="json")])
        self.put_json("/groups", [GROUP.model_dump(mode="json")])

    def put(self, path: str, model: BaseModel) -> None:
        self.put_json(path, model.model_dump(mode="json"))

    def put_json(self, path: str, value: Any) -> None:
        self.answers[path] = (200, "application/json", json.dumps(value).encode())

    def fail(self, path: str, status: int, body: bytes, media: str = "text/html") -> None:
        self.answers[path] = (status, media, body)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix(API_PATH)
            service.queries.append((path, parse_qs(parts.query)))
            if self.headers["Authorization"] == f"token {TOKEN}":
                status, media, body = service.answers.get(path, (404, "text/html", b"nothing"))
            else:
                status, media, body = 401, "text/html", b"who are you?"
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dac(url: str) -> DAC:
    return DAC(url, TOKEN)
