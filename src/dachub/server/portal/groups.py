"""*Group*: members and roles, what was used by whom, what is left; managers change members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from dachub.model.names import GROUP_SLUG_PATTERN, Username
from dachub.model.people import Group, Role
from dachub.model.problems import DachubError
from dachub.model.usage import Usage, UsageReport
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.forms import Fields, Form, Submitted
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES
from dachub.server.portal.plots import hours_by_name, names_height
from dachub.server.portal.usage import day_plot, day_rows

router = APIRouter(prefix="/groups", include_in_schema=False)

Slug = Annotated[str, Path(pattern=GROUP_SLUG_PATTERN, max_length=20)]
AUDIT_PER_PAGE = 50


class MemberFields(Fields):
    """A member to add, or the new role of one."""

    username: Username
    role: Role = Role.MEMBER


@router.get("")
async def my_groups(visit: Visitor, factory: Services) -> Response:
    """Show the caller's groups."""
    options = await factory.quota().start_options(visit.caller.name)
    return visit.page("groups.html", balances=options.groups, roles=visit.caller.roles)


async def group_page(
    visit: Visit, factory: Factory, slug: str, chosen: Chosen, form: Form | None = None
) -> Response:
    """One group, with a form as it was left where something was wrong with it."""
    form = form or Form()
    caller = visit.caller
    group = await factory.groups().show(caller, slug)
    manages = caller.has(slug, Role.MANAGER)
    by_day = await _report(visit, factory, slug, chosen, everybody=manages)
    by_user = None
    if manages:
        by_user = await factory.usage().report(
            caller, since=chosen.period.since, until=chosen.period.until,
            dimensions=["user"], group=slug,
        )  # fmt: skip
    return visit.page(
        "group.html",
        chosen=chosen,
        choices=CHOICES,
        group=group,
        role=caller.roles.get(slug),
        manages=manages,
        balance=await factory.quota().balance(slug),
        allocations=await factory.allocations().list(caller, group=slug),
        report=by_day,
        rows=day_rows(by_day),
        people=_people(group, by_user) if by_user else [],
        people_plot_height=names_height(len(by_user.rows)) if by_user else 0,
        role_options=[
            (role.value, "PI" if role is Role.PI else role.value)
            for role in Role
            if role is not Role.PI or caller.is_administrator
        ],
        form=form,
        status=form.status if form.message else 422 if chosen.error else 200,
    )  # fmt: skip


def _people(group: Group, report: UsageReport) -> list[tuple[str, str, Usage]]:
    """Rows of a table by person, most first; also of those who have left."""
    names = {member.username: member.full_name for member in group.members}
    rows = sorted(report.rows, key=lambda row: -row.milli_core_seconds)
    return [(_called(names, row.username or ""), "", row) for row in rows]


def _called(names: Mapping[str, str], username: str) -> str:
    return f"{names[username]} ({username})" if names.get(username) else username


async def _report(
    visit: Visit, factory: Factory, slug: str, chosen: Chosen, *, everybody: bool
) -> UsageReport:
    return await factory.usage().report(
        visit.caller,
        since=chosen.period.since,
        until=chosen.period.until,
        dimensions=["day"],
        group=slug,
        username=None if everybody else visit.caller.name,
    )


@router.get("/{slug}")
async def show_group(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod
) -> Response:
    """Show a group to its members."""
    return await group_page(visit, factory, slug, chosen)


@router.get("/{slug}/plots/days.json")
async def days(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot by day: of the group for its managers, of the caller's part for members."""
    await factory.groups().show(visit.caller, slug)
    manages = visit.caller.has(slug, Role.MANAGER)
    report = await _report(visit, factory, slug, chosen, everybody=manages)
    return day_plot(report, chosen.period, theme)


@router.get("/{slug}/plots/members.json")
async def members(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot by member, for managers."""
    visit.caller.require(slug, Role.MANAGER)
    report = await factory.usage().report(
        visit.caller, since=chosen.period.since, until=chosen.period.until,
        dimensions=["user"], group=slug,
    )  # fmt: skip
    used = {row.username or "": row.core_hours for row in report.rows}
    return json_response(hours_by_name(used, theme))


@router.post("/{slug}/members")
async def put_member(slug: Slug, visit: Visitor, form: Submitted, chosen: ChosenPeriod) -> Response:
    """Add a member, or give one another role."""
    try:
        fields = form.read(MemberFields)
        async with visit.process.factory() as factory:
            await factory.groups().put_member(visit.caller, slug, fields.username, fields.role)
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await group_page(visit, factory, slug, chosen, form.failed("member", error))
    return visit.redirect(
        f"groups/{slug}#members-heading",
        f"{fields.username} is now {fields.role.value} of {slug}.",
    )


@router.get("/{slug}/members/{username}/remove")
async def confirm_removal(
    slug: Slug, username: Username, visit: Visitor, factory: Services
) -> Response:
    """Ask whether somebody really shall leave the group."""
    visit.caller.require(slug, Role.MANAGER)
    group = await factory.groups().show(visit.caller, slug)
    return visit.page("remove-member.html", group=group, username=username, problem="")


@router.post("/{slug}/members/{username}/remove")
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
    return visit.redirect(
        f"groups/{slug}#members-heading", f"{username} no longer belongs to {slug}."
    )


@router.get("/{slug}/history")
async def history(
    slug: Slug, visit: Visitor, factory: Services, before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Who changed what in the group, for its managers."""
    entries = await factory.audit().list(
        visit.caller, group=slug, before=before, limit=AUDIT_PER_PAGE + 1
    )
    return visit.page(
        "history.html",
        group=await factory.groups().show(visit.caller, slug),
        past=[
            record
            for record in await factory.groups().history(visit.caller, slug)
            if record.valid_to is not None
        ],
        entries=entries[:AUDIT_PER_PAGE],
        older=entries[AUDIT_PER_PAGE - 1].audit_id if len(entries) > AUDIT_PER_PAGE else None,
        newest=f"{BASE}groups/{slug}/history" if before else "",
    )
