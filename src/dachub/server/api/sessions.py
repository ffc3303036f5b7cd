"""Sessions in the ledger."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import BaseModel

from dachub.model.sessions import SessionRecord
from dachub.model.usage import AuthorizeRequest, Decision
from dachub.server.api.parameters import (
    GroupQuery,
    SinceQuery,
    UntilQuery,
    UserQuery,
    errors,
)
from dachub.server.dependencies import Caller, CurrentProcess, HubOnly, Services
from dachub.server.stopping import request_stop

router = APIRouter(prefix="/sessions", tags=["sessions"])


class StopRequested(BaseModel):
    """The server will be stopped, also if the hub does not answer just now."""

    session_id: UUID
    status: Literal["stopping", "ended"]


@router.get("", responses=errors(404))
async def sessions(
    caller: Caller,
    services: Services,
    username: UserQuery = None,
    group: GroupQuery = None,
    state: Literal["requested", "running", "ended"] | None = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[UUID | None, Query(description="Continues a page")] = None,
) -> list[SessionRecord]:
    """List sessions, newest first; one's own, unless asked for."""
    return await services.sessions().list(
        caller,
        username=username,
        group=group,
        state=state,
        since=since,
        until=until,
        limit=limit,
        before=before,
    )


@router.post("/authorize", responses=errors(), dependencies=[HubOnly])
async def authorize(request: AuthorizeRequest, services: Services) -> Decision:
    """Decide whether a person may start a server; asked by the hub before every start."""
    return await services.quota().authorize(request)


@router.get("/{session_id}", responses=errors(404))
async def session(session_id: UUID, caller: Caller, services: Services) -> SessionRecord:
    """Show one session."""
    return await services.sessions().show(caller, session_id)


@router.post("/{session_id}/stop", status_code=202, responses=errors(404))
async def stop(
    session_id: UUID,
    caller: Caller,
    services: Services,
    process: CurrentProcess,
    background: BackgroundTasks,
) -> StopRequested:
    """Stop a session's server through the hub; kept until done if the hub does not answer now."""
    stopping = await request_stop(services, caller, session_id)
    background.add_task(process.nudge, "stops")
    return StopRequested(session_id=session_id, status="stopping" if stopping else "ended")
