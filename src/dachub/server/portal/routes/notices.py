"""*Notices*: what a person was told, unread first, and how they want to be told."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from dachub.model.notices import ALWAYS_IN_PORTAL, NoticeKind, NoticePreference
from dachub.server.api.parameters import MAX_ID
from dachub.server.dependencies import Services
from dachub.server.portal.forms import Fields, Submitted
from dachub.server.portal.pages import Visitor

router = APIRouter(prefix="/notices", include_in_schema=False)

READ_PER_PAGE = 25
KINDS = {
    NoticeKind.STOP: "A server of mine will be stopped, or was",
    NoticeKind.MAINTENANCE: "The machine of a server of mine is taken out of service",
    NoticeKind.QUOTA: "Computing time: nearly spent, spent, granted",
    NoticeKind.STORAGE: "Storage: nearly full, over quota",
    NoticeKind.REQUEST: "Requests for more, and what was decided",
    NoticeKind.GROUP: "Groups: who belongs to them in which role",
    NoticeKind.SOFTWARE: "Software: a version that I use will be retired",
}


class ReadFields(Fields):
    """Everything up to a notice was on the page."""

    up_to: int = Field(ge=0, le=MAX_ID)


@router.get("")
async def notices(
    visit: Visitor, factory: Services, before: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None
) -> Response:
    """Show the caller's notices."""
    service = factory.notices()
    unread = await service.list(visit.caller, unread=True)
    read = await service.list(visit.caller, unread=False, before=before, limit=READ_PER_PAGE + 1)
    shown = read.notices[:READ_PER_PAGE]
    person = await factory.people().person(visit.caller.name)
    return visit.page(
        "notices.html",
        new=[] if before else unread.notices,
        last_id=unread.last_id,
        read=shown,
        older=shown[-1].notice_id if len(read.notices) > READ_PER_PAGE else None,
        paged=before is not None,
        kinds=KINDS,
        always=ALWAYS_IN_PORTAL,
        wishes={wish.kind: wish for wish in await service.preferences(visit.caller)},
        address_known=bool(person.email),
        sends_mails=visit.process.settings.mail is not None,
    )


@router.post("/read")
async def mark_all_read(visit: Visitor, form: Submitted) -> Response:
    """Mark everything that was on the page as read."""
    fields = form.read(ReadFields)
    async with visit.process.factory() as factory:
        await factory.notices().mark_all_read(visit.caller, fields.up_to)
    return visit.redirect("notices", "All notices are marked as read.")


@router.post("/{notice_id}/read")
async def mark_read(
    notice_id: Annotated[int, Path(ge=1, le=MAX_ID)], visit: Visitor, _: Submitted
) -> Response:
    """Mark one as read."""
    async with visit.process.factory() as factory:
        await factory.notices().mark_read(visit.caller, notice_id)
    return visit.redirect("notices", "The notice is marked as read.")


@router.post("/preferences")
async def prefer(visit: Visitor, form: Submitted) -> Response:
    """Keep how the caller wants to be told."""
    async with visit.process.factory() as factory:
        for kind in NoticeKind:
            wish = NoticePreference(
                kind=kind,
                portal=kind in ALWAYS_IN_PORTAL or f"{kind}-portal" in form.values,
                email=f"{kind}-email" in form.values,
            )
            await factory.notices().prefer(visit.caller, wish)
    return visit.redirect("notices#preferences-heading", "Your choice counts from now on.")
