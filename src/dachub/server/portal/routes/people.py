"""Administration of people: affiliations and their age, local accounts, disabling."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.model.names import Username
from dachub.model.problems import DachubError
from dachub.model.storage import StorageArea
from dachub.model.usage import UsageDimension, UsageReport
from dachub.server.api.parameters import Reason
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.forms import (
    Fields,
    Form,
    InvalidFields,
    SecretFields,
    Submitted,
    answered,
    changed,
    changed_once,
)
from dachub.server.portal.pages import Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES, Period
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.records import (
    SESSION_COLUMNS,
    session_batches,
    usage_batches,
    usage_columns,
)
from dachub.server.portal.routes.storage import set_limit
from dachub.server.portal.stacks import Stack, column_of, stack

router = APIRouter(prefix="/admin/people", include_in_schema=False)

PEOPLE_PER_PAGE = 50
SESSIONS_SHOWN = 20
ENTRIES_SHOWN = 20


class AccountFields(Fields):
    """A local account to add."""

    username: Username
    full_name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=254)
    administrator: bool = False
    password: str = Field(min_length=1, max_length=1000)


class ReasonFields(Fields):
    """Why somebody is disabled."""

    reason: Reason


class ForgetFields(Fields):
    """Why somebody is forgotten."""

    reason: Reason
    again: str = Field(max_length=32)
    delete_home: bool = False


class NewPasswordFields(SecretFields):
    """A password set by an administrator."""

    new: str = Field(min_length=1, max_length=1000)


async def _list_page(
    visit: Visit, factory: Factory, search: str, after: str | None, form: Form
) -> Response:
    found = await factory.people().list(
        visit.caller, search=search, after=after, limit=PEOPLE_PER_PAGE + 1
    )
    return visit.page(
        "people.html",
        people=found[:PEOPLE_PER_PAGE],
        count=await factory.people().count(),
        after=found[PEOPLE_PER_PAGE - 1].username if len(found) > PEOPLE_PER_PAGE else None,
        paged=after is not None,
        search=search,
        stale_days=visit.process.settings.directory.affiliation_stale_after_days,
        form=form,
        status=form.status,
    )


@router.get("")
async def people(
    visit: Visitor, factory: Services,
    search: Annotated[str, Query(max_length=200)] = "",
    after: Annotated[str | None, Query(max_length=32)] = None,
) -> Response:  # fmt: skip
    """List people, or those that match."""
    return await _list_page(visit, factory, search.strip(), after, Form())


@router.post("")
async def add(visit: Visitor, form: Submitted) -> Response:
    """Add a person with a local account."""
    visit.caller.require_administrator()
    try:
        fields = form.read(AccountFields)
        async with visit.process.factory() as factory:
            await factory.accounts().add(visit.caller, **fields.model_dump())
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _list_page(visit, factory, "", None, form.failed("account", error))
    return visit.redirect(
        f"admin/people/{fields.username}", f"The account {fields.username} was added."
    )


async def _report(visit: Visit, factory: Factory, username: str, period: Period) -> UsageReport:
    visit.caller.require_administrator()
    return await factory.usage().report(
        visit.caller,
        since=period.since,
        until=period.until,
        dimensions=[column_of(period, visit.now), "group"],
        username=username,
    )


def _stack(report: UsageReport, period: Period) -> Stack:
    return stack(report, period, lambda row: row.group or "")


async def _person_page(
    visit: Visit, username: str, chosen: Chosen, factory: Factory, form: Form
) -> Response:
    caller = visit.caller
    caller.require_administrator()
    report = await _report(visit, factory, username, chosen.period)
    stacked = _stack(report, chosen.period)
    (home,) = await factory.storage().now(caller, area=StorageArea.HOME, owner=username)
    return visit.page(
        "person.html",
        person=await factory.people().show(caller, username),
        options=await factory.quota().start_options(username),
        chosen=chosen,
        choices=CHOICES,
        report=report,
        stack=stacked,
        colours=layer_colours(len(stacked.layers)),
        sessions=await factory.sessions().list(caller, username=username, limit=SESSIONS_SHOWN),
        home=home,
        limits=await factory.storage_limits().history(caller, StorageArea.HOME, username),
        not_read=await factory.notices().unread(username),
        entries=await factory.audit().list(caller, username=username, limit=ENTRIES_SHOWN),
        has_password=await factory.accounts().has_account(username),
        stale_days=visit.process.settings.directory.affiliation_stale_after_days,
        form=form,
        status=form.status if form.message else 422 if chosen.error else 200,
    )


@router.get("/{username}")
async def person(
    username: Username, visit: Visitor, factory: Services, chosen: ChosenPeriod
) -> Response:
    """Show everything about one person."""
    return await _person_page(visit, username, chosen, factory, Form())


@router.get("/{username}/plots/days.json")
async def days(
    username: Username, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot of a person's core-hours by day and group."""
    report = await _report(visit, factory, username, chosen.period)
    return json_response(hours_stacked(_stack(report, chosen.period), theme))


@router.get("/{username}/usage.{form}")
async def download_usage(
    username: Username, form: Format, visit: Visitor, chosen: ChosenPeriod
) -> Response:
    """A person's usage by day and group."""
    visit.caller.require_administrator()
    dimensions: list[UsageDimension] = ["day", "group"]
    batches = usage_batches(visit, chosen.period, dimensions, username=username)
    name = f"{username}-usage-{chosen.period.name}"
    return await download(name, form, usage_columns(dimensions), batches)


@router.get("/{username}/sessions.{form}")
async def download_sessions(
    username: Username, form: Format, visit: Visitor, chosen: ChosenPeriod
) -> Response:
    """A person's sessions."""
    visit.caller.require_administrator()
    batches = session_batches(visit, chosen.period, username=username)
    name = f"{username}-sessions-{chosen.period.name}"
    return await download(name, form, SESSION_COLUMNS, batches)


@router.post("/{username}/storage-limit")
async def limit_storage(
    username: Username, visit: Visitor, form: Submitted, chosen: ChosenPeriod
) -> Response:
    """Except a person's home from the site's limits."""
    visit.caller.require_administrator()
    change = partial(set_limit, visit, form, StorageArea.HOME, username)
    page = partial(_person_page, visit, username, chosen)
    return await answered(
        visit,
        form,
        "storage-limit",
        changed_once(visit, form, change),
        page,
        f"admin/people/{username}#storage-heading",
    )


@router.post("/{username}/disable")
async def disable(
    username: Username, visit: Visitor, form: Submitted, chosen: ChosenPeriod
) -> Response:
    """Refuse a person everything from now on; the form on the page asked for the reason."""
    visit.caller.require_administrator()

    async def change(factory: Factory) -> str:
        await factory.people().disable(visit.caller, username, form.read(ReasonFields).reason)
        return f"{username} is disabled: servers and tokens of theirs are being ended now."

    page = partial(_person_page, visit, username, chosen)
    answer = await answered(
        visit, form, "disable", changed(visit, change), page, f"admin/people/{username}"
    )
    visit.process.nudge("disabled-people")
    return answer


@router.post("/{username}/enable")
async def enable(username: Username, visit: Visitor, _: Submitted) -> Response:
    """Let a person in again."""
    async with visit.process.factory() as factory:
        await factory.people().enable(visit.caller, username)
    return visit.redirect(f"admin/people/{username}", f"{username} may sign in again.")


@router.post("/{username}/forget")
async def forget(
    username: Username, visit: Visitor, form: Submitted, chosen: ChosenPeriod
) -> Response:
    """Forget a person for good; the form asked for the reason, and for the name once more."""
    visit.caller.require_administrator()

    async def change(factory: Factory) -> str:
        fields = form.read(ForgetFields)
        if fields.again != username:
            raise InvalidFields({"again": f"Type {username}, so that nobody else is forgotten."})
        await factory.forgetting().ask(
            visit.caller, username, fields.reason, delete_home=fields.delete_home
        )
        return f"{username} is disabled and will be forgotten within a minute."

    page = partial(_person_page, visit, username, chosen)
    answer = await answered(visit, form, "forget", changed(visit, change), page, "admin/people")
    visit.process.nudge("disabled-people")
    return answer


@router.post("/{username}/password")
async def set_password(
    username: Username, visit: Visitor, form: Submitted, chosen: ChosenPeriod
) -> Response:
    """Set the password of a local account."""
    visit.caller.require_administrator()

    async def change(factory: Factory) -> str:
        new = form.read(NewPasswordFields).new
        await factory.accounts().set_password(visit.caller, username, new)
        return f"The password of {username} was set."

    page = partial(_person_page, visit, username, chosen)
    return await answered(
        visit, form, "password", changed(visit, change), page, f"admin/people/{username}"
    )
