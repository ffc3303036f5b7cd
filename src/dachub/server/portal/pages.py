"""What every page shares: who visits, rendering, headers, messages that outlive a redirect."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dachub.directory.models import Principal, PrincipalKind
from dachub.hub.bar import links, place_of
from dachub.hub.settings import SiteSettings
from dachub.infra.templates import templates_of
from dachub.model import units
from dachub.model.problems import PermissionDenied
from dachub.server.auth import PREFIX, Signer, authenticate
from dachub.server.cookies import set_cookie
from dachub.server.dependencies import CurrentProcess
from dachub.server.factory import Process
from dachub.server.portal import formats, sentences
from dachub.server.portal.assets import asset_path
from dachub.server.portal.tables import address

BASE = f"{PREFIX}/"
FLASH_COOKIE = "dachub-message"
FLASH_SECONDS = 60
HEADERS = {
    # Nothing inline runs and nothing comes from elsewhere; BokehJS needs style elements of its own.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_templates = templates_of("dachub.server.portal", hub="dachub.hub")
_templates.filters.update(
    {
        made.__name__: made
        for made in (
            formats.core_clock, formats.core_time, formats.day, formats.duration,
            formats.first_day, formats.hours, formats.last_day, formats.measure, formats.moment,
            formats.number, formats.origin, formats.quantity, formats.rules, formats.space,
            formats.when, sentences.actor, sentences.said, units.cores, units.share,
            units.spoken_bytes, units.spoken_memory,
        )
    }
)  # fmt: skip
_templates.globals.update(
    base=BASE,
    root="/",
    log_out=f"{BASE}logout",
    asset=lambda name: BASE + asset_path(name),
    address=address,
)


def render_page(template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template and send it under the headers of every page."""
    html = _templates.get_template(template).render(**context)
    return HTMLResponse(html, status, headers=HEADERS)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a person in a browser.

    Attributes
    ----------
    caller
        The person, as the directory knows them at this moment.
    now
        The moment all ages on the page refer to.
    unread
        How many of their notices they have not read.
    """

    request: Request
    process: Process
    caller: Principal
    now: datetime
    unread: int

    @property
    def site(self) -> SiteSettings:
        """What the site calls itself."""
        return self.process.settings.site

    def signer(self, purpose: str) -> Signer:
        """Signer of values for one purpose and this person."""
        return Signer(self.process.portal_secret, f"{purpose}:{self.caller.name}")

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Render a page of the portal; a message left by the last request is shown once."""
        flash = self._flash()
        response = render_page(
            template,
            status=status,
            site=self.site,
            synthetic=self.process.settings.synthetic,
            me=self.caller,
            unread=self.unread,
            now=self.now,
            path=self.request.url.path,
            bar=links(administers=self.caller.is_administrator),
            place=place_of(self.request.url.path),
            age=partial(formats.age, now=self.now),
            csrf_token=self.signer("csrf").sign(secrets.token_urlsafe(12)),
            flash=flash,
            **context,
        )
        if flash:
            response.delete_cookie(FLASH_COOKIE, path=BASE)
        return response

    def redirect(self, path: str, message: str) -> Response:
        """Go to a page of the portal after a change, and say there what was done."""
        response = RedirectResponse(
            BASE + path, status_code=303, headers={"Cache-Control": "no-store"}
        )
        told = self.signer("flash").sign(message[:1000])
        set_cookie(response, self.request, self.process, FLASH_COOKIE, told, FLASH_SECONDS)
        return response

    def _flash(self) -> str:
        kept = self.request.cookies.get(FLASH_COOKIE, "")
        return self.signer("flash").read(kept, FLASH_SECONDS) or ""


async def _visit(request: Request, process: CurrentProcess) -> Visit:
    process.require_database()
    caller = await authenticate(request, process)
    request.state.caller = caller.name
    if caller.kind is not PrincipalKind.PERSON:
        raise PermissionDenied(
            f"These pages are for people in a browser. Programs use {PREFIX}/api/v1/."
        )
    async with process.factory() as factory:
        told = await factory.notices().count(caller)
    return Visit(request, process, caller, process.clock.now(), told.unread)


Visitor = Annotated[Visit, Depends(_visit)]
"""The person who visits; nobody else passes."""


def json_response(content: Any) -> Response:
    """JSON for our own scripts."""
    return Response(
        json.dumps(content),
        media_type="application/json",
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
    )
