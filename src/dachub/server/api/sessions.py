"""Sessions in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from dachub.model.sessions import Correction, CorrectionAction, SessionRecord
from dachub.model.usage import AuthorizeRequest, Decision
from dachub.server.api.parameters import (
    GroupQuery,
    Reason,
    SinceQuery,
    UntilQuery,
    UserQuery,
    errors,
)
from dachub.server.dependencies import Caller, CurrentProcess, HubOnly, Once, Services
from dachub.server.stopping import request_stop

router = APIRouter(prefix="/sessions", tags=["sessions"])


class StopRequested(BaseModel):
    """The server will be stopped, also if the hub does not answer just now."""

    session_id: UUID
    status: Literal["stopping", "ended"]


class NewCorrection(BaseModel):
    """A correction; times only to amend: what is not given is as it was reported."""

    model_config = ConfigDict(extra="forbid")

    action: CorrectionAction
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    reason: Reason


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


@router.get("/{session_id}/corrections", responses=errors(404))
async def corrections(session_id: UUID, caller: Caller, services: Services) -> Sequence[Correction]:
    """List the corrections of what a session is charged, the oldest first; the latest holds."""
    return await services.corrections().history(caller, session_id)


@router.post("/{session_id}/corrections", status_code=201, responses=errors(404, 409))
async def correct(
    session_id: UUID, new: NewCorrection, caller: Caller, services: Services, once: Once
) -> SessionRecord:
    """Void, amend or restore a session; usage and balances follow at once."""
    make = partial(services.corrections().correct, caller, session_id, **dict(new))
    return await once(SessionRecord, make)
