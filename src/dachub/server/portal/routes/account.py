"""One's own account: the password, where it is a local one, and what is kept about oneself."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response
from pydantic import Field

from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import (
    Form,
    InvalidFields,
    SecretFields,
    Submitted,
    answered,
    changed,
)
from dachub.server.portal.pages import Visit, Visitor
from dachub.server.privacy import archive

router = APIRouter(include_in_schema=False)


class PasswordFields(SecretFields):
    """What the form asks."""

    current: str = Field(min_length=1, max_length=1000)
    new: str = Field(min_length=1, max_length=1000)
    again: str = Field(max_length=1000)


@router.get("/my-data.zip")
async def my_data(visit: Visitor, factory: Services) -> Response:
    """Give a person everything that is held about them."""
    return await archive(visit.caller, factory)


async def _page(visit: Visit, _: Factory, form: Form) -> Response:
    return visit.page("password.html", form=form, status=form.status)


@router.get("/password")
async def password(visit: Visitor, factory: Services) -> Response:
    """Show the form."""
    if not await factory.accounts().has_account(visit.caller.name):
        return visit.page("no-password.html", status=404)
    return await _page(visit, factory, Form())


@router.post("/password")
async def change_password(visit: Visitor, form: Submitted) -> Response:
    """Change the caller's own password."""

    async def change(factory: Factory) -> str:
        fields = form.read(PasswordFields)
        if fields.new != fields.again:
            raise InvalidFields({"again": "This differs from the new password above."})
        await factory.accounts().change_own_password(visit.caller, fields.current, fields.new)
        return "Your password was changed."

    return await answered(
        visit, form, "password", changed(visit, change), partial(_page, visit), ""
    )
