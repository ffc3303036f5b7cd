"""Turns every error into ``application/problem+json``, or a page where a person asked for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from dachub.infra.logging import request_id
from dachub.model.problems import Conflict, DachubError, InvalidInput, Problem, Unavailable
from dachub.server.auth import PREFIX, NotAuthenticated
from dachub.server.login import login_url

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
FAULTS_MAX = 10
GAVE_WAY = frozenset({"40001", "40P01"})
"""PostgreSQL ended one of two transactions that stood in each other's way: repeat it."""
Renderer = Callable[[Request, Problem], Awaitable[Response]]

_CODES = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "too-large",
    415: "unsupported-media-type",
    500: "internal-error",
}
_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    400: "The request cannot be read.",
}


def problem_of(error: DachubError) -> Problem:
    """What we tell of an error raised on purpose."""
    return problem(error.status, error.code, error.message)


def problem(status: int, code: str, detail: str) -> Problem:
    """A problem of the request being answered."""
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id.get(),
    )


def internal_error() -> Problem:
    """What we tell of an error nobody expected: nothing of its inside."""
    return problem(
        500,
        "internal-error",
        "Something went wrong on our side. Give an administrator the request id: "
        "with it they find the reason in the logs.",
    )


def unavailable(error: BaseException) -> DachubError:
    """The database does not answer; said once in the log, without its traceback."""
    log.warning("database does not answer", error=type(error).__name__, reason=str(error)[:300])
    return Unavailable("The database does not answer at the moment. Try again in a minute.")


def as_json(told: Problem, headers: dict[str, str] | None = None) -> Response:
    """A problem as JSON."""
    return Response(
        told.model_dump_json(), status_code=told.status, headers=headers, media_type=MEDIA_TYPE
    )


def is_page(request: Request) -> bool:
    """Whether a person in a browser asked, rather than a program."""
    path = request.url.path
    for_programs = (f"{PREFIX}/api/", f"{PREFIX}/metrics")
    return path.startswith(f"{PREFIX}/") and not path.startswith(for_programs)


def add_error_handlers(app: FastAPI, render: Renderer | None = None) -> None:
    """Let ``app`` answer every error as a problem.

    Parameters
    ----------
    render
        Makes the page that a person sees instead of JSON.
    """

    async def answer(
        request: Request, told: Problem, headers: dict[str, str] | None = None
    ) -> Response:
        if render is None or not is_page(request):
            return as_json(told, headers)
        response = await render(request, told)
        response.headers.update(headers or {})
        return response

    async def on_dachub(request: Request, error: DachubError) -> Response:
        if isinstance(error, NotAuthenticated):
            if is_page(request) and request.method == "GET":
                query = f"?{request.url.query}" if request.url.query else ""
                return RedirectResponse(login_url(request.url.path + query), status_code=302)
            return await answer(request, problem_of(error), {"WWW-Authenticate": "Bearer"})
        headers = {"Retry-After": "10"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return await answer(request, problem_of(error), headers)

    async def on_database(request: Request, error: DBAPIError | PoolTimeout) -> Response:
        sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
        if isinstance(error, DataError):
            # Such as a NUL character, or a number no column holds.
            return await on_dachub(request, InvalidInput("A value cannot be stored as given."))
        if sqlstate.startswith("23"):
            return await on_dachub(
                request, Conflict("This contradicts what is stored; look again and repeat it.")
            )
        passing = sqlstate in GAVE_WAY or getattr(error, "connection_invalidated", False)
        if passing or isinstance(error, (OperationalError, InterfaceError, PoolTimeout)):
            return await on_dachub(request, unavailable(error))
        raise error

    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(map(_fault, error.errors()[:FAULTS_MAX]))
        return await answer(request, problem(422, InvalidInput.code, faults))

    async def on_http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "error")
        detail = _DETAILS.get(error.status_code, str(error.detail))
        headers = dict(error.headers) if error.headers else None
        return await answer(request, problem(error.status_code, code, detail), headers)

    handlers: list[tuple[Any, Any]] = [
        (DachubError, on_dachub),
        (DBAPIError, on_database),
        (PoolTimeout, on_database),
        (RequestValidationError, on_validation),
        (HTTPException, on_http),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _fault(found: dict[str, Any]) -> str:
    """One fault on one line; what was sent is never repeated: it may be a password."""
    where = ".".join(str(part) for part in found["loc"][1:])[:200] or str(found["loc"][0])
    text = f"{where}: {found['msg']}"
    return text.encode("utf-8", "replace").decode()[:300]
