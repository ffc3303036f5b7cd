"""The application: REST API, sign-in, portal, background work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from dachub import __version__
from dachub.server import login, portal
from dachub.server.api import metrics
from dachub.server.api import router as api
from dachub.server.auth import API, PREFIX
from dachub.server.errors import add_error_handlers
from dachub.server.factory import Process
from dachub.server.meters import Meters
from dachub.server.middleware import Envelope
from dachub.server.workers import Workers

DESCRIPTION = """\
Who used how much computing time, who may, and who belongs to which group.

Call it with `Authorization: Bearer <token>`, a token of JupyterHub. Every error is a problem
(RFC 9457) with a stable `code`. Where a call takes an `Idempotency-Key`, it may be repeated with
the same key and contents when no answer came: it is done once, and answered as it was.
"""


def create_app(process: Process, *, workers: Workers | None = None) -> FastAPI:
    """The application on top of ``process``.

    Parameters
    ----------
    workers
        Run while the application does; without them nothing happens but answers.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if workers is None:
            yield
            return
        async with workers.running():
            yield
        await process.close()

    app = FastAPI(
        title="dachub",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        # The pages FastAPI offers load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.process = process
    app.state.meters = meters = Meters(process)
    app.include_router(api, prefix=API)
    app.include_router(metrics.router, prefix=PREFIX)
    app.include_router(login.router, prefix=PREFIX)
    app.include_router(portal.router, prefix=PREFIX)
    add_error_handlers(app, portal.error_page)
    app.add_middleware(Envelope, render=portal.error_page, note=meters.note_request)
    return app
