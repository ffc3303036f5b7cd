"""What the nginx in front costs: a notebook's connection that stays open, and a request."""

from __future__ import annotations

import asyncio
import resource
import ssl

import httpx
import psutil
import yaml
from tests.harness.nginx import Nginx
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from benchmarks.report import Row
from dachub import config
from dachub.deploy import nginx as front

SOCKETS = 2000
AT_ONCE = 20
REQUESTS = 3000


class Kernel(WebSocketHandler):
    """Stays connected, and says nothing."""


class Page(RequestHandler):
    """Answers like a poll of an open tab."""

    def get(self) -> None:
        """Half a kilobyte."""
        self.write("x" * 500)


def run() -> list[Row]:
    """All on loopback; nginx has one process."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    try:
        return asyncio.run(_measured())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


async def _measured() -> list[Row]:
    server = HTTPServer(Application([("/user/.*", Kernel), (".*", Page)]))
    [socket, *_] = bind_sockets(0, "127.0.0.1", backlog=1024)
    server.add_socket(socket)
    with Nginx(upstreams=[f"127.0.0.1:{socket.getsockname()[1]}"]) as nginx:
        file = nginx.top / "dachub.yaml"
        file.write_text(yaml.safe_dump(nginx.settings()))
        front.put(config.load(file), nginx.conf, check=False)
        await asyncio.to_thread(nginx.start)
        [worker] = psutil.Process(nginx.pid).children()
        memory, processor = worker.memory_info().rss, _seconds(worker)
        opened: list[WebSocketClientConnection] = []
        url, trust = f"wss://localhost:{nginx.https_port}/user/ada/kernel", nginx.context()
        while len(opened) < SOCKETS:
            opened += await asyncio.gather(*(_connect(url, trust) for _ in range(AT_ONCE)))
        kept = worker.memory_info().rss - memory
        shaking = _seconds(worker) - processor
        processor = _seconds(worker)
        async with httpx.AsyncClient(verify=trust, base_url=nginx.url) as client:
            await asyncio.gather(*(_ask(client) for _ in range(AT_ONCE)))
        asking = _seconds(worker) - processor
        for each in opened:
            each.close()
    server.stop()
    return [
        Row(
            "front", f"memory of an open WebSocket ({SOCKETS} of them)", "kB", kept / SOCKETS / 1e3
        ),
        Row(
            "front", "opening it, TLS handshake included: processor", "ms", 1e3 * shaking / SOCKETS
        ),
        Row("front", "a request on an open connection: processor", "ms", 1e3 * asking / REQUESTS),
    ]


async def _ask(client: httpx.AsyncClient) -> None:
    for _ in range(REQUESTS // AT_ONCE):
        (await client.get("/hub/home")).raise_for_status()


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _connect(url: str, trust: ssl.SSLContext) -> WebSocketClientConnection:
    return await websocket_connect(HTTPRequest(url, ssl_options=trust))
