"""Around every request: its id, its line in the log, limits, security headers, the last resort."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import structlog
from fastapi import HTTPException, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dachub.infra.logging import request_id
from dachub.server.errors import Renderer, as_json, internal_error, is_page, problem

log = structlog.get_logger("dachub.access")

BODY_BYTES_MAX = 4 * 1024**2
REQUEST_ID_HEADER = "X-Request-ID"
QUIET_PATHS = frozenset(
    {"/services/dac/api/v1/alive", "/services/dac/api/v1/health", "/services/dac/metrics"}
)

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class BodyTooLarge(HTTPException):
    """More was sent than any request of ours needs."""

    def __init__(self) -> None:
        super().__init__(413, "The request is too large; send less at a time.")


def _require_small(declared: str) -> None:
    if not declared.isdecimal() or int(declared[:20]) > BODY_BYTES_MAX:
        raise BodyTooLarge


class Envelope:
    """Wraps the whole application; plain ASGI, so that context variables reach the handlers.

    Parameters
    ----------
    render
        Makes the page that a person sees instead of JSON.
    note
        Is told of every answer: scope, status, seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        render: Renderer | None = None,
        note: Callable[[Scope, int, float], None] | None = None,
    ) -> None:
        self._app = app
        self._render = render
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID_HEADER, "")
        current = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        reset = request_id.set(current)
        scope.setdefault("state", {})
        begun, status, received = time.perf_counter(), 0, 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                raise BodyTooLarge
            return message

        async def complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
                answer[REQUEST_ID_HEADER] = current
            await send(message)

        try:
            _require_small(headers.get("content-length", "0"))
            await self._app(scope, limited, complete)
        except BodyTooLarge as error:
            too_large = problem(413, "too-large", error.detail)
            if not status:
                await as_json(too_large)(scope, receive, complete)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if not status:
                answer = await self._last_resort(Request(scope))
                await answer(scope, receive, complete)
        finally:
            seconds = time.perf_counter() - begun
            if self._note is not None:
                self._note(scope, status, seconds)
            level = log.debug if scope["path"] in QUIET_PATHS and status < 400 else log.info
            level(
                "request",
                method=scope["method"],
                path=scope["path"][:500],
                status=status,
                milliseconds=round(1000 * seconds, 1),
                username=scope["state"].get("caller"),
            )
            request_id.reset(reset)

    async def _last_resort(self, request: Request) -> Response:
        if self._render is not None and is_page(request):
            return await self._render(request, internal_error())
        return as_json(internal_error())
