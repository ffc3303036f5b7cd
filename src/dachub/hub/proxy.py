"""``python -m dachub.hub.proxy``: the pure-Python proxy, made fit for JupyterLab.

As it comes it keeps the server's choice of a WebSocket subprotocol to itself, passes binary
messages on as text and ends connections at messages over 10 MiB: kernels would speak an old
protocol only, and widgets and large plots would break. It has ten requests under way at once, so
that ten people who wait for their servers would hold up everybody, and takes files of 100 MiB at
most. What a page is told of a server's start it keeps until the start is over, or for 20 seconds.
Nor does it speak TLS. And it lets callers say themselves what address they have.
"""

from __future__ import annotations

import argparse
import functools
import ssl
from typing import Any

import aiohttp
from configurable_http_proxy import cli, configproxy, handlers  # type: ignore[import-untyped]
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.netutil import is_valid_ip
from tornado.websocket import websocket_connect
from yarl import URL

BYTES_MAX = 512 * 1024**2
"""Largest message or file, either way."""
REQUESTS_AT_ONCE = 10_000
REQUEST_SECONDS_MAX = 24 * 3600
EVENTS = "text/event-stream"
OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class ProxyHandler(handlers.ProxyHandler):  # type: ignore[misc]
    """Passes WebSocket messages on as they are, and tells from where each request came."""

    behind_proxy = False

    def add_header(self, name: str, value: Any) -> None:
        """Pass on a header of an answer, unless it would let one person's server take over all.

        With it a script of theirs could answer for the whole host in others' browsers from then on.
        """
        if name.lower() != "service-worker-allowed":
            super().add_header(name, value)

    def _get_proxy_request(self, url: str) -> HTTPRequest:
        """The request as it goes on; both headers, because the hub believes the second more."""
        request = super()._get_proxy_request(url)
        headers = HTTPHeaders(request.headers)
        forwarded = self.request.headers.get("X-Forwarded-For", "")
        address = client_address(self.request.remote_ip, forwarded, behind_proxy=self.behind_proxy)
        headers["X-Forwarded-For"] = headers["X-Real-Ip"] = address
        request.headers = headers
        request.request_timeout = REQUEST_SECONDS_MAX
        return request

    async def call_proxy(self, path: str | None = None) -> None:
        """Pass an answer on: as a whole, or events as they come."""
        if EVENTS not in self.request.headers.get("Accept", ""):
            await super().call_proxy(path)
        elif (url := await self.get_target_url(path)) is not None:
            await self._pass_events(self._get_proxy_request(url))

    async def _pass_events(self, request: HTTPRequest) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as client,
                client.get(
                    URL(request.url, encoded=True),
                    headers=list(request.headers.get_all()),
                    allow_redirects=False,
                ) as answer,
            ):
                self.set_status(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in OF_THE_CONNECTION:
                        self.add_header(name, value)
                async for piece in answer.content.iter_any():
                    self.write(piece)
                    await self.flush()
                self.finish()
        except StreamClosedError:
            return  # whoever looked has gone, and so have we
        except (aiohttp.ClientError, TimeoutError) as error:
            if not self._headers_written:
                await self.handle_proxy_error(503, error)
            else:
                self.finish()

    @property
    def max_message_size(self) -> int:
        """Largest message from a browser, in bytes."""
        return BYTES_MAX

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Tell the browser what the server chose; it was asked before."""
        del subprotocols
        return self.ws_client.selected_subprotocol if self.ws_client else None

    def on_message(self, message: str | bytes) -> None:
        """Pass a message of the browser on, as text or as bytes."""
        if self.ws_client:
            if self.target:
                self.proxy.update_last_activity(self.target["prefix"])
            self.ws_client.write_message(message, binary=isinstance(message, bytes))


def client_address(peer: str, forwarded: str, *, behind_proxy: bool) -> str:
    """Address of whoever sent a request.

    Parameters
    ----------
    peer
        Who connected to us.
    forwarded
        ``X-Forwarded-For``. Only its last entry is of the proxy in front; the others anybody may
        have written.
    behind_proxy
        Whether there is a proxy in front.
    """
    told = forwarded.rpartition(",")[2].strip()
    return told if behind_proxy and is_valid_ip(told) else peer


def main() -> None:
    """Run the proxy with the arguments JupyterHub gives."""
    configproxy.ProxyHandler = ProxyHandler
    handlers.websocket_connect = functools.partial(websocket_connect, max_message_size=BYTES_MAX)
    AsyncHTTPClient.configure(None, max_clients=REQUESTS_AT_ONCE, max_buffer_size=BYTES_MAX)
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--ssl-key")
    ours.add_argument("--ssl-cert")
    ours.add_argument("--behind-proxy", action="store_true")
    given, rest = ours.parse_known_args()
    ProxyHandler.behind_proxy = given.behind_proxy
    context = None
    if given.ssl_cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.ssl_cert, given.ssl_key)
    # It makes two servers: first that for people, then that of its API on loopback.
    contexts = iter([context, None])

    def server(application: Any) -> HTTPServer:
        return HTTPServer(application, ssl_options=next(contexts), max_buffer_size=BYTES_MAX)

    cli.HTTPServer = server
    cli.main(args=rest)


if __name__ == "__main__":
    main()
