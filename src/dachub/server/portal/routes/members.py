"""*Group, Members*: who belongs to it in which role; managers change that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from dachub.directory.models import Principal
from dachub.model.names import Username
from dachub.model.people import Group, MembershipRecord, Role, Source
from dachub.model.problems import DachubError, NotFound
from dachub.model.usage import GroupBalance, Resource
from dachub.server.api.parameters import Reason
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, Submitted, answered, changed, changed_once
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.grants import TIME_UNITS, UNITS, Amount
from dachub.server.portal.pages import Visit, Visitor
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(prefix="/groups/{slug}/members", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the table shows them.

    Attributes
    ----------
    used, limit
        Milli-core-seconds since the allocations in force began; only shown to managers.
    """

    member: MembershipRecord
    used: int = 0
    limit: int | None = None


COLUMNS: dict[str, Callable[[MemberRow], Any]] = {
    "name": lambda row: (row.member.full_name or row.member.username).casefold(),
    "username": lambda row: row.member.username,
    "role": lambda row: row.member.role.rank,
    "since": lambda row: row.member.valid_from,
    "used": lambda row: row.used,
    "limit": lambda row: -1 if row.limit is None else row.limit,
}


class MemberFields(Fields):
    """A member to add, or the new role of one."""

    username: Username
    role: Role = Role.MEMBER


class LimitFields(Fields):
    """A limit of one member; without an amount there is none any more."""

    amount: Amount | None = Field(default=None, ge=0)
    unit: str = Field(default="core-hours", pattern=f"^({'|'.join(TIME_UNITS)})$")
    reason: Reason


def _roles(by: Principal) -> list[tuple[str, str]]:
    """Roles that ``by`` may give."""
    return [
        (role.value, _spoken(role)) for role in Role if role is not Role.PI or by.is_administrator
    ]


def _spoken(role: Role) -> str:
    return "PI" if role is Role.PI else role.value


async def _rows(
    visit: Visit, factory: Factory, group: Group, balance: GroupBalance
) -> list[MemberRow]:
    """Members with what each used and may use, for a manager."""
    report = await factory.usage().report(
        visit.caller,
        since=balance.since or visit.now.replace(month=1, day=1, hour=0),
        until=visit.now + timedelta(seconds=1),
        dimensions=["user"],
        group=group.slug,
    )
    used = {row.username: row.milli_core_seconds for row in report.rows}
    limits = {
        limit.username: limit.amount
        for limit in await factory.limits().list(visit.caller, group.slug)
        if limit.resource is Resource.CORE_HOURS
    }
    return [
        MemberRow(member, used.get(member.username, 0), limits.get(member.username))
        for member in group.members
    ]


async def _list_page(visit: Visit, slug: str, sort: str, factory: Factory, form: Form) -> Response:
    frame = await group_frame(visit, factory, slug)
    group: Group = frame["group"]
    balance = await factory.quota().balance(slug)
    rows = (
        await _rows(visit, factory, group, balance)
        if frame["manages"]
        else [MemberRow(member) for member in group.members]
    )
    rows, sorting = sorted_rows(rows, sort, COLUMNS, "name")
    return visit.page(
        "group-members.html",
        **frame,
        balance=balance,
        rows=rows,
        sorting=sorting,
        role_options=_roles(visit.caller),
        form=form,
        status=form.status,
    )


async def _member_page(
    visit: Visit, slug: str, username: str, factory: Factory, form: Form
) -> Response:
    visit.caller.require(slug, Role.MANAGER)
    frame = await group_frame(visit, factory, slug)
    balance = await factory.quota().balance(slug)
    rows = await _rows(visit, factory, frame["group"], balance)
    row = next((row for row in rows if row.member.username == username), None)
    if row is None:
        raise NotFound(f"'{username}' is not a member of the group '{slug}'.")
    history = await factory.limits().history(visit.caller, slug)
    return visit.page(
        "member.html",
        **frame,
        balance=balance,
        row=row,
        limits=[limit for limit in history if limit.username == username],
        sets_limits=visit.caller.has(slug, Role.PI),
        changes=row.member.source is Source.LOCAL
        and (row.member.role is not Role.PI or visit.caller.is_administrator),
        role_options=_roles(visit.caller),
        units=TIME_UNITS,
        form=form,
        status=form.status,
    )


@router.get("")
async def members(slug: Slug, visit: Visitor, factory: Services, sort: AskedSort = "") -> Response:
    """List the members of a group."""
    return await _list_page(visit, slug, sort, factory, Form())


@router.get("/{username}")
async def member(slug: Slug, username: Username, visit: Visitor, factory: Services) -> Response:
    """Show one member to those who manage the group."""
    return await _member_page(visit, slug, username, factory, Form())


@router.post("/{username}/limit")
async def set_limit(slug: Slug, username: Username, visit: Visitor, form: Submitted) -> Response:
    """Let a member use at most so much of each period, or all there is."""

    async def change(factory: Factory) -> str:
        fields = form.read(LimitFields)
        resource = UNITS[fields.unit][1]
        await factory.limits().set(
            visit.caller, slug, username, resource, fields.amount, fields.reason
        )
        if fields.amount is None:
            return f"{username} has no limit any more."
        return f"{username} has a limit of {fields.amount:,} {TIME_UNITS[fields.unit]}."

    page = partial(_member_page, visit, slug, username)
    return await answered(
        visit,
        form,
        "limit",
        changed_once(visit, form, change),
        page,
        f"groups/{slug}/members/{username}",
    )


@router.post("")
async def put_member(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Add a member, or give one another role."""

    async def change(factory: Factory) -> str:
        fields = form.read(MemberFields)
        await factory.groups().put_member(visit.caller, slug, fields.username, fields.role)
        return f"{fields.username} is now {_spoken(fields.role)} of {slug}."

    page = partial(_list_page, visit, slug, "")
    return await answered(
        visit, form, "member", changed(visit, change), page, f"groups/{slug}/members"
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
