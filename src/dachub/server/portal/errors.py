"""Errors as a person in a browser sees them: what happened, what to do, the request's id."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from dachub.model.problems import Problem
from dachub.server.factory import Process
from dachub.server.portal.pages import render_page

TITLES = {
    401: "Sign in first",
    403: "You may not do this",
    404: "There is no such page",
    405: "This cannot be done here",
    409: "This contradicts what is stored",
    413: "Too large",
    422: "This cannot be understood",
    500: "Something went wrong",
    503: "A part of the platform does not answer",
}
ADVICE = {
    "hub-unavailable": "Running servers are not affected. This page works again once the hub does.",
    "unavailable": "Running servers are not affected, and what they use is still accounted.",
    "account-disabled": "Your files and records are kept.",
}


async def error_page(request: Request, problem: Problem) -> HTMLResponse:
    """Page for a problem; it asks neither the database nor the hub for anything."""
    process: Process = request.app.state.process
    return render_page(
        "error.html",
        status=problem.status,
        site=process.settings.site,
        synthetic=process.settings.synthetic,
        me=None,
        path=request.url.path,
        flash="",
        title=TITLES.get(problem.status, "This did not work"),
        message=problem.detail,
        advice=ADVICE.get(problem.code, ""),
        code=problem.code,
        status_code=problem.status,
        request_id=problem.request_id,
    )
