"""The caller's notices, and how they want them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from dachub.model.notices import NoticeKind, NoticeList, NoticePreference
from dachub.server.api.parameters import MAX_ID, BeforeQuery, SinceQuery, errors
from dachub.server.dependencies import Caller, Services

router = APIRouter(prefix="/me", tags=["notices"])

NoticeId = Annotated[int, Path(ge=1, le=MAX_ID)]


class ReadUpTo(BaseModel):
    """Everything up to this notice was seen; what came later was not."""

    model_config = ConfigDict(extra="forbid")

    up_to: int = Field(ge=0, le=MAX_ID)


class Wish(BaseModel):
    """How to get notices of a kind."""

    model_config = ConfigDict(extra="forbid")

    portal: bool
    email: bool


@router.get(
    "/notices",
    response_model=NoticeList,
    responses=errors() | {304: {"description": "Nothing new came and nothing was read"}},
)
async def notices(
    caller: Caller,
    services: Services,
    response: Response,
    unread: Annotated[bool, Query(description="Only those not read yet")] = False,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="Only newer than this one")] = 0,
    before: BeforeQuery = None,
    since: SinceQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response | NoticeList:
    """List the caller's notices, newest first; made to be asked again and again, with the ETag."""
    count = await services.notices().count(caller)
    if if_none_match == count.etag:
        return Response(status_code=304, headers={"ETag": count.etag})
    found = await services.notices().list(
        caller,
        unread=True if unread else None,
        after=after,
        before=before,
        since=since,
        limit=limit,
    )
    response.headers["ETag"] = found.etag
    return found


@router.post("/notices/read", status_code=204, responses=errors())
async def mark_all_read(seen: ReadUpTo, caller: Caller, services: Services) -> None:
    """Note that everything up to a notice was read."""
    await services.notices().mark_all_read(caller, seen.up_to)


@router.post("/notices/{notice_id}/read", status_code=204, responses=errors(404))
async def mark_read(notice_id: NoticeId, caller: Caller, services: Services) -> None:
    """Note that a notice was read."""
    await services.notices().mark_read(caller, notice_id)


@router.get("/notice-preferences", responses=errors())
async def preferences(caller: Caller, services: Services) -> list[NoticePreference]:
    """Tell how the caller gets notices, kind by kind."""
    return [*await services.notices().preferences(caller)]


@router.put("/notice-preferences/{kind}", responses=errors())
async def prefer(
    kind: NoticeKind, wish: Wish, caller: Caller, services: Services
) -> NoticePreference:
    """Choose how the caller gets notices of a kind from now on."""
    chosen = NoticePreference(kind=kind, portal=wish.portal, email=wish.email)
    return await services.notices().prefer(caller, chosen)
