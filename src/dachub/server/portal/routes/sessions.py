"""Sessions: those of a group, one with all that is known of it, and stopping one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from dachub.directory.models import Principal
from dachub.model.sessions import CorrectionAction, SessionRecord
from dachub.server.api.parameters import Reason
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import ChosenPeriod
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.forms import Fields, Form, Submitted, answered, changed_once
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import BASE, Visit, Visitor
from dachub.server.portal.periods import CHOICES
from dachub.server.portal.records import SESSION_COLUMNS, session_batches
from dachub.server.stopping import request_stop

router = APIRouter(include_in_schema=False)

MOST_OPEN = 1000
SESSIONS_PER_PAGE = 50
ORDERS = {"newest": "Newest first", "largest": "Most core-hours first"}


async def open_sessions(
    factory: Factory, by: Principal, *, username: str | None = None
) -> list[SessionRecord]:
    """Sessions that run or start."""
    sessions = factory.sessions()
    return [
        *await sessions.list(by, username=username, state="requested", limit=MOST_OPEN),
        *await sessions.list(by, username=username, state="running", limit=MOST_OPEN),
    ]


@router.get("/groups/{slug}/sessions")
async def of_group(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    order: Annotated[str, Query(max_length=20)] = "largest",
    member: Annotated[str, Query(max_length=32)] = "",
    before: UUID | None = None,
) -> Response:  # fmt: skip
    """List a group's sessions for its managers, the caller's own for members."""
    frame = await group_frame(visit, factory, slug)
    period = chosen.period
    largest_first = order != "newest"
    found = await factory.sessions().list(
        visit.caller,
        group=slug,
        username=member.strip() or None,
        since=period.since,
        until=period.until,
        limit=SESSIONS_PER_PAGE + 1,
        before=None if largest_first else before,
        largest_first=largest_first,
    )
    more = len(found) > SESSIONS_PER_PAGE
    return visit.page(
        "group-sessions.html",
        **frame,
        chosen=chosen,
        choices=CHOICES,
        orders=ORDERS,
        order="largest" if largest_first else "newest",
        member=member.strip(),
        members=sorted({found.username for found in frame["group"].members}),
        sessions=found[:SESSIONS_PER_PAGE],
        more=more,
        older=found[SESSIONS_PER_PAGE - 1].session_id if more and not largest_first else None,
        paged=before is not None and not largest_first,
        status=422 if chosen.error else 200,
    )


@router.get("/groups/{slug}/sessions.{form}")
async def download_of_group(
    slug: Slug, form: Format, visit: Visitor, chosen: ChosenPeriod,
    member: Annotated[str, Query(max_length=32)] = "",
) -> Response:  # fmt: skip
    """Sessions of a group for its managers, the caller's own for members."""
    return await download(
        f"{slug}-sessions-{chosen.period.name}",
        form,
        SESSION_COLUMNS,
        session_batches(visit, chosen.period, group=slug, username=member.strip() or None),
    )


class CorrectionFields(Fields):
    """What a session shall be charged; times in UTC."""

    action: CorrectionAction
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: Reason


async def _session_page(visit: Visit, session_id: UUID, factory: Factory, form: Form) -> Response:
    return visit.page(
        "session.html",
        session=await factory.sessions().show(visit.caller, session_id),
        corrections=await factory.corrections().history(visit.caller, session_id),
        form=form,
        status=form.status,
    )


@router.get("/sessions/{session_id}")
async def show(session_id: UUID, visit: Visitor, factory: Services) -> Response:
    """Show all that is known of a session to those who may know of it."""
    return await _session_page(visit, session_id, factory, Form())


@router.post("/sessions/{session_id}/corrections")
async def correct(session_id: UUID, visit: Visitor, form: Submitted) -> Response:
    """Void, amend or restore what a session is charged, with a reason that stays."""

    async def change(factory: Factory) -> str:
        fields, corrections = form.read(CorrectionFields), factory.corrections()
        match fields.action:
            case CorrectionAction.VOID:
                await corrections.void(visit.caller, session_id, fields.reason)
            case CorrectionAction.RESTORE:
                await corrections.restore(visit.caller, session_id, fields.reason)
            case CorrectionAction.AMEND:
                await corrections.amend(
                    visit.caller, session_id, fields.reason,
                    started_at=_in_utc(fields.started_at), ended_at=_in_utc(fields.ended_at),
                )  # fmt: skip
        return "The session was corrected."

    page = partial(_session_page, visit, session_id)
    return await answered(
        visit, form, "correction", changed_once(visit, form, change), page, f"sessions/{session_id}"
    )


def _in_utc(typed: datetime | None) -> datetime | None:
    return None if typed is None else typed.replace(tzinfo=UTC)


@router.get("/sessions/{session_id}/stop")
async def confirm_stop(session_id: UUID, visit: Visitor, factory: Services) -> Response:
    """Ask whether a server really shall stop."""
    session = await factory.sessions().stoppable(visit.caller, session_id)
    if session.state == "ended":
        return visit.redirect(_list_path(visit, session), "That server has ended already.")
    return visit.page("stop.html", session=session, back=BASE + _list_path(visit, session))


@router.post("/sessions/{session_id}/stop")
async def stop(session_id: UUID, visit: Visitor, _: Submitted) -> Response:
    """Stop a server through the hub."""
    async with visit.process.factory() as factory:
        stopping = await request_stop(factory, visit.caller, session_id)
        session = await factory.sessions().show(visit.caller, session_id)
    visit.process.nudge("stops")
    return visit.redirect(
        _list_path(visit, session),
        "The server is being stopped; this takes a few seconds."
        if stopping
        else "That server has ended already.",
    )


def _list_path(visit: Visit, session: SessionRecord) -> str:
    return "" if session.username == visit.caller.name else "admin/servers"
