"""Parameters and documented answers that several resources share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AwareDatetime, Field

from dachub.directory.services.text import REASON_MAX_CHARACTERS
from dachub.model.names import GROUP_SLUG_PATTERN, USERNAME_PATTERN
from dachub.model.problems import Problem

MAX_ID = 2**63 - 1
MAX_SMALL_ID = 2**31 - 1

Reason = Annotated[str, Field(min_length=1, max_length=REASON_MAX_CHARACTERS)]
SmallIdPath = Annotated[int, Path(ge=1, le=MAX_SMALL_ID)]
UsernamePath = Annotated[str, Path(pattern=USERNAME_PATTERN, max_length=32)]
GroupPath = Annotated[str, Path(pattern=GROUP_SLUG_PATTERN, max_length=20)]
UserQuery = Annotated[str | None, Query(alias="user", pattern=USERNAME_PATTERN, max_length=32)]
GroupQuery = Annotated[str | None, Query(alias="group", pattern=GROUP_SLUG_PATTERN, max_length=20)]
SinceQuery = Annotated[AwareDatetime | None, Query(description="From this moment on")]
UntilQuery = Annotated[AwareDatetime | None, Query(description="Before this moment")]
BeforeQuery = Annotated[int | None, Query(ge=1, le=MAX_ID, description="Continues a page")]

_MEANINGS = {
    401: "Nobody we know",
    403: "Not allowed",
    404: "No such thing, or not for the caller to know",
    409: "Contradicts what is",
    413: "Too large",
    422: "Not to be understood",
    429: "Too often",
    503: "The database or the hub does not answer",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems a route may answer, for the OpenAPI document."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {
        status: {"description": _MEANINGS[status], "content": content}
        for status in sorted({401, 403, 422, 503, *statuses})
    }
