"""A real Filebeat and a real OpenSearch, and what stands for the Logstash between them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness.helm import Helm
from tests.harness.waiting import until

TOOLS = Path(__file__).parents[2] / ".environments" / "logging"
START_SECONDS = 240


def tool(name: str) -> Path:
    """What ``make test-logging`` made, or skip the test."""
    if not os.environ.get("DACHUB_TEST_LOGGING"):
        pytest.skip("this test starts an OpenSearch: run: make test-logging")
    path = TOOLS / name
    if not path.exists():
        pytest.skip(f"this test needs {path.name} in {TOOLS}: run: make test-logging")
    return path


@contextmanager
def opensearch(directory: Path, port: int) -> Iterator[OpenSearch]:
    """Run one in a directory of its own, on loopback; the runner takes ports from 9201 to 9298."""
    jars = tool("opensearch")
    if shutil.which("java") is None:
        pytest.skip("this test needs a java (17 or newer) in the PATH")
    temporary = directory / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    with (directory / "opensearch.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("java", "-Xmx512m", f"-Djna.tmpdir={temporary}", f"-Djava.io.tmpdir={temporary}"),
                *("-cp", f"{jars}/*", "org.codelibs.opensearch.runner.OpenSearchRunner"),
                *("-basePath", str(directory / "data"), "-numOfNode", "1"),
                *("-baseHttpPort", str(port - 1), "-clusterName", "dachub"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    store = OpenSearch(f"http://127.0.0.1:{port}")
    try:
        until(
            lambda: store.answers() or process.poll() is not None, "OpenSearch runs", START_SECONDS
        )
        assert process.poll() is None, (directory / "opensearch.log").read_text()[-2000:]
        yield store
    finally:
        process.terminate()
        process.wait(30)


class OpenSearch:
    """Its REST API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def answers(self) -> bool:
        try:
            return self._client.get("/").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def bulk(self, actions: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Create documents; those that are there already stay. Raises where it does not answer."""
        lines = []
        for index, key, document in actions:
            lines += [{"create": {"_index": index, "_id": key}}, document]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        answer = self._client.post(
            "/_bulk", content=body, headers={"Content-Type": "application/x-ndjson"}
        )
        answer.raise_for_status()
        wrong = [
            one["create"]
            for one in answer.json()["items"]
            if one["create"]["status"] not in {201, 409}
        ]
        assert not wrong, wrong[:3]

    def find(self, query: str = "*", index: str = "dachub-*") -> list[dict[str, Any]]:
        """What a Lucene query finds, in the order of time."""
        self.ask("POST", f"/{index}/_refresh")
        body = {
            "query": {"query_string": {"query": query}},
            "sort": [{"@timestamp": {"order": "asc", "unmapped_type": "date"}}],
            "size": 5000,
        }
        found = self.ask("POST", f"/{index}/_search", body)["hits"]["hits"]
        return [{**one["_source"], "_index": one["_index"]} for one in found]


class Logstash(socketserver.ThreadingTCPServer):
    """Takes what Filebeat sends and says so once the store has it, as deploy/logstash tells one."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, store: OpenSearch, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Lumberjack)
        self.store = store
        self.is_away = False
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, events: list[dict[str, Any]]) -> None:
        if self.is_away:
            raise ConnectionError("the store does not answer")
        actions = []
        for event in events:
            told = event.pop("@metadata")
            day = event["@timestamp"][: 7 if told["target"].endswith("-audit") else 10]
            actions.append((f"{told['target']}-{day.replace('-', '.')}", told["_id"], event))
        self.store.bulk(actions)


class _Lumberjack(socketserver.BaseRequestHandler):
    server: Logstash
    request: socket.socket

    def handle(self) -> None:
        try:
            while True:
                kind, window = self._exactly(2), struct.unpack(">I", self._exactly(4))[0]
                assert kind == b"2W"
                events: list[tuple[int, dict[str, Any]]] = []
                while len(events) < window:
                    events += self._frame()
                self.server.take([event for _, event in events])
                self.request.sendall(b"2A" + struct.pack(">I", events[-1][0]))
        except (ConnectionError, httpx.HTTPError):
            return  # without an answer Filebeat sends it again

    def _frame(self) -> list[tuple[int, dict[str, Any]]]:
        kind = self._exactly(2)
        if kind == b"2C":
            packed = self._exactly(struct.unpack(">I", self._exactly(4))[0])
            return list(_unpacked(zlib.decompress(packed)))
        head = self._exactly(8)
        return list(_unpacked(kind + head + self._exactly(struct.unpack(">II", head)[1])))

    def _exactly(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            piece = self.request.recv(count - len(read))
            if not piece:
                raise ConnectionError
            read += piece
        return read


def _unpacked(frames: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    at = 0
    while at < len(frames):
        assert frames[at : at + 2] == b"2J"
        number, size = struct.unpack(">II", frames[at + 2 : at + 10])
        yield number, json.loads(frames[at + 10 : at + 10 + size])
        at += 10 + size


class Node:
    """A node of a cluster with containers that write, and the Filebeat of the chart on it."""

    namespace = "dac"

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.pods = directory / "pods"
        self.pods.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        given = {
            "logging": {
                "enabled": True,
                "podLogs": str(self.pods),
                "output": {"kind": "logstash", "hosts": [f"127.0.0.1:{port}"]},
            }
        }
        files = Helm.found().objects(given).one("ConfigMap", "dachub-logs")["data"]
        for name, text in files.items():
            (directory / name).write_text(text)

    def write(self, pod: str, container: str, *lines: str, namespace: str = namespace) -> None:
        """Have a container write lines, as its runtime keeps them."""
        here = self.pods / f"{namespace}_{pod}_0b7d3c9e-0000-4000-8000-000000000000" / container
        here.mkdir(parents=True, exist_ok=True)
        with (here / "0.log").open("a") as file:
            for text in lines:
                for line in text.split("\n"):
                    file.write(f"2026-11-24T14:20:00.123456789Z stderr F {line}\n")

    def start(self) -> None:
        """Start Filebeat; it goes on where the last one stopped."""
        with (self.directory / "filebeat.out").open("ab") as out:
            self._process = subprocess.Popen(
                [
                    *(tool("filebeat"), "-e", "-c", self.directory / "filebeat.yml"),
                    *("--path.config", self.directory, "--path.data", self.directory / "registry"),
                    *("--strict.perms=false", "-E", "filebeat.inputs.0.scan_frequency=1s"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"]},
            )

    def kill(self) -> None:
        """Kill it, as a node does that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def said(self) -> str:
        """What Filebeat says of itself."""
        return (self.directory / "filebeat.out").read_text()


def ecs(**fields: Any) -> str:
    """A line as a program of ours writes it."""
    return json.dumps({"@timestamp": "2026-11-24T14:21:00.000Z", "log.level": "info"} | fields)
