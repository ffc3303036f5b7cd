"""Cookies of ours: no script reads them, and no form of another site brings them along."""

from __future__ import annotations

from fastapi import Request, Response

from dachub.server.auth import PREFIX
from dachub.server.factory import Process

COOKIE_PATH = f"{PREFIX}/"


def set_cookie(
    response: Response, request: Request, process: Process, name: str, value: str, seconds: int
) -> None:
    """Have the browser keep ``value`` for so long; sent over TLS alone where there is any."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=COOKIE_PATH,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https" or process.public_origin.startswith("https:"),
    )
