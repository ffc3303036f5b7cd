"""*Group, Members*: who belongs to it in which role; managers change that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response

from dachub.model.names import Username
from dachub.model.people import MembershipRecord, Role
from dachub.model.problems import DachubError
from dachub.model.usage import GroupBalance
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, Submitted
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import Visit, Visitor
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(prefix="/groups/{slug}/members", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the table shows them; ``used`` (milli-core-seconds) only to managers."""

    member: MembershipRecord
    used: int | None


COLUMNS: dict[str, Callable[[MemberRow], Any]] = {
    "name": lambda row: (row.member.full_name or row.member.username).casefold(),
    "username": lambda row: row.member.username,
    "role": lambda row: row.member.role.rank,
    "since": lambda row: row.member.valid_from,
    "used": lambda row: row.used or 0,
}


class MemberFields(Fields):
    """A member to add, or the new role of one."""

    username: Username
    role: Role = Role.MEMBER


async def _members_page(
    visit: Visit, factory: Factory, slug: str, asked: str, form: Form
) -> Response:
    frame = await group_frame(visit, factory, slug)
    balance = await factory.quota().balance(slug)
    used = await _used(visit, factory, balance) if frame["manages"] else None
    rows, sorting = sorted_rows(
        [
            MemberRow(member, used.get(member.username, 0) if used is not None else None)
            for member in frame["group"].members
        ],
        asked,
        COLUMNS,
        "name",
    )
    return visit.page(
        "group-members.html",
        **frame,
        balance=balance,
        rows=rows,
        sorting=sorting,
        role_options=[
            (role.value, "PI" if role is Role.PI else role.value)
            for role in Role
            if role is not Role.PI or visit.caller.is_administrator
        ],
        form=form,
        status=form.status,
    )


async def _used(visit: Visit, factory: Factory, balance: GroupBalance) -> dict[str, int]:
    """What each member used since the allocations in force began."""
    report = await factory.usage().report(
        visit.caller,
        since=balance.since or visit.now.replace(month=1, day=1, hour=0),
        until=visit.now + timedelta(seconds=1),
        dimensions=["user"],
        group=balance.group,
    )
    return {row.username or "": row.milli_core_seconds for row in report.rows}


@router.get("")
async def members(
    slug: Slug, visit: Visitor, factory: Services,
    sort: AskedSort = "",
) -> Response:  # fmt: skip
    """List the members of a group."""
    return await _members_page(visit, factory, slug, sort, Form())


@router.post("")
async def put_member(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Add a member, or give one another role."""
    try:
        fields = form.read(MemberFields)
        async with visit.process.factory() as factory:
            await factory.groups().put_member(visit.caller, slug, fields.username, fields.role)
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _members_page(visit, factory, slug, "", form.failed("member", error))
    return visit.redirect(
        f"groups/{slug}/members", f"{fields.username} is now {fields.role.value} of {slug}."
    )


@router.get("/{username}/remove")
async def confirm_removal(
    slug: Slug, username: Username, visit: Visitor, factory: Services
) -> Response:
    """Ask whether somebody really shall leave the group."""
    visit.caller.require(slug, Role.MANAGER)
    group = await factory.groups().show(visit.caller, slug)
    return visit.page("remove-member.html", group=group, username=username, problem="")


@router.post("/{username}/remove")
async def remove_member(slug: Slug, username: Username, visit: Visitor, _: Submitted) -> Response:
    """End somebody's local membership."""
    try:
        async with visit.process.factory() as factory:
            await factory.groups().remove_member(visit.caller, slug, username)
    except DachubError as error:
        async with visit.process.factory() as factory:
            group = await factory.groups().show(visit.caller, slug)
        return visit.page(
            "remove-member.html", group=group, username=username, problem=error.message,
            status=error.status,
        )  # fmt: skip
    return visit.redirect(f"groups/{slug}/members", f"{username} no longer belongs to {slug}.")
