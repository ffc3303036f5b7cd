"""Forms: token checked, fields validated by a model, shown again with what was wrong."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from dachub.model.problems import DachubError, InvalidInput, PermissionDenied
from dachub.server.auth import CSRF_SECONDS
from dachub.server.factory import Factory
from dachub.server.portal.pages import Visit, Visitor

MOST_FIELDS = 20
LARGEST_FORM_BYTES = 65_536
NEVER_REPEATED = frozenset({"password", "current", "new", "again", "csrf_token"})


class ForgedForm(PermissionDenied):
    """A form did not come from our own page."""

    code = "form-not-trusted"


class FormTooLarge(InvalidInput):
    """A form is larger than any of ours."""

    code = "form-too-large"
    status = 413


class Fields(BaseModel):
    """Base of the models of forms: blanks around words do not count."""

    model_config = ConfigDict(str_strip_whitespace=True, frozen=True)


class SecretFields(BaseModel):
    """Base of the models of forms with passwords, which are taken as typed."""

    model_config = ConfigDict(frozen=True)


AnyFields = TypeVar("AnyFields", bound=BaseModel)


class InvalidFields(InvalidInput):
    """Some fields of a form cannot be used as they are; the key of the whole form is empty."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        whole = self.errors.pop("", "Some fields need your attention.")
        super().__init__(f"{whole} Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Form:
    """A form as the person left it; an empty one where they have not sent it.

    Attributes
    ----------
    name
        Which of the page's forms.
    values
        What was typed, never passwords.
    message
        What is wrong with the whole.
    errors
        Field -> what is wrong with it.
    """

    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    def failed(self, name: str, error: DachubError) -> Form:
        """The same form with what went wrong, for showing it again."""
        return Form(
            name,
            {key: value for key, value in self.values.items() if key not in NEVER_REPEATED},
            error.message,
            error.errors if isinstance(error, InvalidFields) else {},
            error.status,
        )

    def read(self, model: type[AnyFields]) -> AnyFields:
        """Validate what was typed; a field left empty is as if it were not there.

        Raises
        ------
        InvalidFields
            With a message for each field.
        """
        try:
            return model.model_validate({key: typed for key, typed in self.values.items() if typed})
        except ValidationError as error:
            raise InvalidFields(
                {
                    str(e["loc"][0]) if e["loc"] else "": _explain(e["type"], e["msg"])
                    for e in error.errors()
                }
            ) from None


def _explain(kind: str, message: str) -> str:
    match kind:
        case "missing" | "string_too_short":
            return "Fill this in."
        case "string_too_long":
            return "This is too long."
        case "string_pattern_mismatch":
            return "Use lower-case letters and what else is named here; begin with a letter."
        case "value_error":
            return message.removeprefix("Value error, ")
        case _:
            return message + "."


async def _submitted(visit: Visitor) -> Form:
    length = visit.request.headers.get("content-length", "")
    if not length.isdecimal() or int(length[:20]) > LARGEST_FORM_BYTES:
        raise FormTooLarge("The form is too large. Shorten what you typed.")
    sent = await visit.request.form(max_files=0, max_fields=MOST_FIELDS)
    values = {key: value for key, value in sent.items() if isinstance(value, str)}
    if visit.signer("csrf").read(values.get("csrf_token", ""), CSRF_SECONDS) is None:
        raise ForgedForm(
            "This form is too old, or it did not come from this site; nothing was changed. "
            "Go back, load the page again, and repeat what you wanted to do."
        )
    return Form(values=values)


Submitted = Annotated[Form, Depends(_submitted)]
"""A form that its own page sent, on behalf of the person it was made for."""


Change = Callable[[Factory], Awaitable[str]]
"""Changes something in a transaction, and tells what to say of it."""


Page = Callable[[Factory, Form], Awaitable[Response]]
"""Shows the page of a form, as the form was left."""


async def answered(
    visit: Visit, form: Form, name: str, changing: Awaitable[str], page: Page, then: str
) -> Response:
    """Make what a form asks come true, and go to ``then``; or show its page with what was wrong.

    Parameters
    ----------
    name
        Which of the page's forms it is.
    changing
        :func:`changed_once`, or :func:`changed` where once more comes to the same.
    """
    try:
        message = await changing
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await page(factory, form.failed(name, error))
    return visit.redirect(then, message)


async def changed(visit: Visit, change: Change) -> str:
    """Make a change, and tell what to say of it."""
    async with visit.process.factory() as factory:
        return await change(factory)


async def changed_once(visit: Visit, form: Form, change: Change) -> str:
    """Make a change, once however often the form is sent, and tell what to say of it.

    Each page that is loaded has forms with a token of its own. So what comes with the same token to
    the same address, the same in every field, is one wish: a double click, a reload, a repetition
    after an answer that never came. What differs is another.
    """
    sent = json.dumps([visit.request.url.path, *sorted(form.values.items())])
    async with visit.process.factory() as factory:
        answer = await factory.once().answer(visit.caller, sent, "", partial(change, factory))
    if answer.is_repeated:
        return f"This form was sent before, and counted once. {answer.text}"
    return answer.text
