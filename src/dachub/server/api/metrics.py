"""Figures for Prometheus."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Request, Response

from dachub.server.auth import authenticate
from dachub.server.dependencies import CurrentProcess
from dachub.server.factory import Process
from dachub.server.meters import CONTENT_TYPE, Meters

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(request: Request, process: CurrentProcess) -> Response:
    """Show how the service is, to who has the token of ``metrics.token_file`` and administrators.

    With the token it answers also while the database does not.
    """
    if not _has_token(request, process):
        process.require_database()
        (await authenticate(request, process)).require_administrator()
    meters: Meters = request.app.state.meters
    return Response(await meters.exposition(), media_type=CONTENT_TYPE)


def _has_token(request: Request, process: Process) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return (
        bool(process.metrics_token)
        and scheme.lower() == "bearer"
        and hmac.compare_digest(token.strip().encode(), process.metrics_token.encode())
    )
