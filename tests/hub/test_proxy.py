"""What goes through the proxy comes out as it went in, with and without TLS."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.hub.running import PYTHONPATH, free_port
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from dachub.hub.proxy import client_address

MIB = 1024**2
FILE_BYTES = 120 * MIB
KERNEL_PROTOCOL = "v1.kernel.websocket.jupyter.org"


class Echo(WebSocketHandler):
    """Sends back what comes, of the kind it came in."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return KERNEL_PROTOCOL if KERNEL_PROTOCOL in subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Seen(RequestHandler):
    """Answers from where a request comes, as the hub sees it."""

    def get(self) -> None:
        self.set_header("Service-Worker-Allowed", "/")
        self.set_header("X-Other", "stays")
        self.write(self.request.remote_ip or "")


class Waiting(RequestHandler):
    """Answers once so many wait for an answer."""

    together = 30
    arrived = 0
    all_there: asyncio.Event

    async def get(self) -> None:
        Waiting.arrived += 1
        if Waiting.arrived == self.together:
            self.all_there.set()
        await self.all_there.wait()


class Files(RequestHandler):
    """Takes a file, and gives one as long."""

    def put(self) -> None:
        self.write(str(len(self.request.body)))

    def get(self) -> None:
        self.write(bytes(FILE_BYTES))


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """Address of a server behind the proxy."""
    Waiting.arrived, Waiting.all_there = 0, asyncio.Event()
    handlers = [("/seen", Seen), ("/waiting", Waiting), ("/file", Files), ("/.*", Echo)]
    application = Application(handlers, websocket_max_message_size=64 * MIB)
    server = HTTPServer(application, xheaders=True, max_buffer_size=256 * MIB)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, ``key.pem`` beside it."""
    directory = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return directory / "cert.pem"


@pytest.fixture(params=["http", "https"])
async def proxy(
    request: pytest.FixtureRequest, echo: str, certificate: Path
) -> AsyncIterator[tuple[str, ssl.SSLContext | None]]:
    """Address of a proxy with ``echo`` behind it, and whom its clients trust."""
    port, api_port = free_port(), free_port()
    secure = request.param == "https"
    key = certificate.with_name("key.pem")
    tls = ["--ssl-key", str(key), "--ssl-cert", str(certificate)] if secure else []
    process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [
            sys.executable,
            "-m",
            "dachub.hub.proxy",
            "--ip",
            "127.0.0.1",
            "--port",
            str(port),
            "--api-ip",
            "127.0.0.1",
            "--api-port",
            str(api_port),
            "--default-target",
            echo,
            *tls,
        ],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "CONFIGPROXY_AUTH_TOKEN": "token-of-the-test"},
    )
    api = f"http://127.0.0.1:{api_port}/api/routes"
    headers = {"Authorization": "token token-of-the-test"}
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    assert (await client.get(api, headers=headers)).status_code == 200
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    await asyncio.sleep(0.1)
        context = ssl.create_default_context(cafile=str(certificate)) if secure else None
        yield f"{request.param}://localhost:{port}", context
    finally:
        process.terminate()
        process.wait(10)


async def connect(
    proxy: tuple[str, ssl.SSLContext | None], *subprotocols: str
) -> WebSocketClientConnection:
    url, context = proxy
    request = HTTPRequest(url.replace("http", "ws", 1) + "/x", ssl_options=context)
    return await websocket_connect(
        request, subprotocols=list(subprotocols), max_message_size=64 * MIB
    )


async def test_the_server_chooses_the_subprotocol(
    proxy: tuple[str, ssl.SSLContext | None],
) -> None:
    connection = await connect(proxy, "another", KERNEL_PROTOCOL)
    assert connection.selected_subprotocol == KERNEL_PROTOCOL
    connection.close()
    plain = await connect(proxy)
    assert plain.selected_subprotocol is None
    plain.close()


async def test_messages_pass_as_they_are(proxy: tuple[str, ssl.SSLContext | None]) -> None:
    connection = await connect(proxy, KERNEL_PROTOCOL)
    large = os.urandom(12 * MIB)
    for message in ("a text: ünï", b"bytes \xff\x00", "", b"", large, "x" * (12 * MIB)):
        await connection.write_message(message, binary=isinstance(message, bytes))
        async with asyncio.timeout(30):
            back = await connection.read_message()
        assert type(back) is type(message)
        assert back == message
    connection.close()


async def test_who_waits_for_an_answer_holds_up_nobody_else(
    proxy: tuple[str, ssl.SSLContext | None],
) -> None:
    url, context = proxy
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(verify=context or False, trust_env=False, limits=limits) as client:
        waiting = (client.get(f"{url}/waiting", timeout=30) for _ in range(Waiting.together))
        answers = await asyncio.gather(*waiting)
    assert {answer.status_code for answer in answers} == {200}


async def test_large_files_pass_both_ways(proxy: tuple[str, ssl.SSLContext | None]) -> None:
    url, context = proxy
    async with httpx.AsyncClient(verify=context or False, trust_env=False, timeout=60) as client:
        taken = await client.put(f"{url}/file", content=bytes(FILE_BYTES))
        given = await client.get(f"{url}/file")
    assert (taken.status_code, taken.text) == (200, str(FILE_BYTES))
    assert (given.status_code, len(given.content)) == (200, FILE_BYTES)


async def test_nobody_says_themselves_where_they_come_from(
    proxy: tuple[str, ssl.SSLContext | None],
) -> None:
    url, context = proxy
    async with httpx.AsyncClient(verify=context or False, trust_env=False) as client:
        for spoof in ({}, {"X-Real-Ip": "203.0.113.9"}, {"X-Forwarded-For": "203.0.113.9"}):
            answer = await client.get(f"{url}/seen", headers=spoof)
            assert answer.text in {"127.0.0.1", "::1"}


async def test_no_server_takes_over_the_whole_host(
    proxy: tuple[str, ssl.SSLContext | None],
) -> None:
    url, context = proxy
    async with httpx.AsyncClient(verify=context or False, trust_env=False) as client:
        answer = await client.get(f"{url}/seen")
    assert answer.headers["X-Other"] == "stays"
    assert "Service-Worker-Allowed" not in answer.headers


def test_the_proxy_in_front_says_who_calls() -> None:
    spoofed = "203.0.113.9, 198.51.100.7"
    assert client_address("192.0.2.1", spoofed, behind_proxy=True) == "198.51.100.7"
    assert client_address("192.0.2.1", spoofed, behind_proxy=False) == "192.0.2.1"
    for nonsense in ("", ",", "x", "203.0.113.9, unknown"):
        assert client_address("192.0.2.1", nonsense, behind_proxy=True) == "192.0.2.1"
