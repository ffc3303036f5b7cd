"""Administration of people: affiliations and their age, local accounts, disabling."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.model.names import Username
from dachub.model.problems import DachubError
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, SecretFields, Submitted
from dachub.server.portal.pages import Visit, Visitor

router = APIRouter(prefix="/admin/people", include_in_schema=False)

PEOPLE_PER_PAGE = 50
SESSIONS_SHOWN = 20


class AccountFields(Fields):
    """A local account to add."""

    username: Username
    full_name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=254)
    administrator: bool = False
    password: str = Field(min_length=1, max_length=1000)


class ReasonFields(Fields):
    """Why somebody is disabled."""

    reason: str = Field(min_length=1, max_length=500)


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


async def _person_page(visit: Visit, factory: Factory, username: str, form: Form) -> Response:
    visit.caller.require_administrator()
    return visit.page(
        "person.html",
        person=await factory.people().show(visit.caller, username),
        sessions=await factory.sessions().list(
            visit.caller, username=username, limit=SESSIONS_SHOWN
        ),
        has_password=await factory.accounts().has_account(username),
        stale_days=visit.process.settings.directory.affiliation_stale_after_days,
        form=form,
        status=form.status,
    )


@router.get("/{username}")
async def person(username: Username, visit: Visitor, factory: Services) -> Response:
    """Show one person."""
    return await _person_page(visit, factory, username, Form())


@router.post("/{username}/disable")
async def disable(username: Username, visit: Visitor, form: Submitted) -> Response:
    """Refuse a person everything from now on; the form on the page asked for the reason."""
    visit.caller.require_administrator()
    try:
        fields = form.read(ReasonFields)
        async with visit.process.factory() as factory:
            await factory.people().disable(visit.caller, username, fields.reason)
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _person_page(visit, factory, username, form.failed("disable", error))
    visit.process.nudge("disabled-people")
    return visit.redirect(
        f"admin/people/{username}",
        f"{username} is disabled: servers and tokens of theirs are being ended now.",
    )


@router.post("/{username}/enable")
async def enable(username: Username, visit: Visitor, _: Submitted) -> Response:
    """Let a person in again."""
    async with visit.process.factory() as factory:
        await factory.people().enable(visit.caller, username)
    return visit.redirect(f"admin/people/{username}", f"{username} may sign in again.")


@router.post("/{username}/password")
async def set_password(username: Username, visit: Visitor, form: Submitted) -> Response:
    """Set the password of a local account."""
    visit.caller.require_administrator()
    try:
        fields = form.read(NewPasswordFields)
        async with visit.process.factory() as factory:
            await factory.accounts().set_password(visit.caller, username, fields.new)
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _person_page(visit, factory, username, form.failed("password", error))
    return visit.redirect(f"admin/people/{username}", f"The password of {username} was set.")
