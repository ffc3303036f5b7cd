"""Static files of the pages: our own, and BokehJS from the installed Bokeh; compressed once."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from dachub.model.problems import NotFound

router = APIRouter()

OUR_FILES = {
    "bar.css": "dachub.hub",
    **dict.fromkeys(("portal.css", "theme.js", "forms.js", "plots.js"), __package__),
}
"""Our own files, and the package in which each lies."""
BOKEH_FILES = ("bokeh.min.js",)
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    digest: str
    media_type: str


@cache
def _load(name: str) -> Asset:
    if name in OUR_FILES:
        content = files(OUR_FILES[name]).joinpath("static", name).read_bytes()
    elif name in BOKEH_FILES:
        import bokeh

        content = (Path(bokeh.__file__).parent / "server/static/js" / name).read_bytes()
    else:
        raise NotFound("There is no such file.")
    return Asset(
        content,
        gzip.compress(content, 6, mtime=0),
        hashlib.sha256(content).hexdigest()[:12],
        mimetypes.guess_type(name)[0] or "application/octet-stream",
    )


def asset_path(name: str) -> str:
    """Path below the portal; it changes with the content, so browsers may keep the file."""
    return f"static/{_load(name).digest}/{name}"


@router.get("/static/{digest}/{name}", include_in_schema=False)
async def static_file(digest: str, name: str, request: Request) -> Response:
    """Send a static file."""
    asset = await run_in_threadpool(_load, name)
    headers = {
        "Cache-Control": FOR_EVER if digest == asset.digest else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
