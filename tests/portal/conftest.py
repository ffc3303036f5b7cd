"""The real application on a seeded database of its own; of the hub only its REST API is played."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import httpx
import pytest
from fastapi import FastAPI
from tests.conftest import Databases
from tests.portal.seed import NOW, Site, seed

from dachub.config import Settings
from dachub.hub.settings import SiteSettings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.awards import SiteAward
from dachub.quota.settings import QuotaSettings
from dachub.server.app import create_app
from dachub.server.auth import SESSION_COOKIE, session_cookie
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

AWARD = SiteAward(
    title="IRIS 2027", amount=Decimal(20_000), starts=date(2027, 1, 1), ends=date(2027, 9, 30)
)
HOST = "http://portal.test"
HUB_TOKEN = "the-hubs-own-token"
SCOPES = ["access:services!service=dac", "tokens"]


@dataclass
class Hub:
    """Knows the token ``<name>-token`` of everybody; notes what it is asked to stop."""

    stopped: list[str] = field(default_factory=list)
    down: bool = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody listens")
        path = request.url.path
        if path.endswith("/user"):
            token = request.headers["authorization"].removeprefix("token ")
            name, _, kind = token.rpartition("-")
            scopes = SCOPES if kind == "token" else ["access:services!service=dac"]
            return httpx.Response(200, json={"name": name, "kind": "user", "scopes": scopes})
        if request.method == "DELETE":
            self.stopped.append(path.partition("/users/")[2])
            return httpx.Response(204)
        if path.endswith("/users"):
            return httpx.Response(200, json={"items": [], "_pagination": {"next": None}})
        return httpx.Response(200, json={"version": "6.1.1"})


@dataclass
class Portal:
    """The application, and ways into it."""

    app: FastAPI
    process: Process
    hub: Hub
    site: Site

    def client(self, name: str | None) -> httpx.AsyncClient:
        """A browser in which ``name`` is signed in; nobody for ``None``."""
        cookies = {SESSION_COOKIE: self.cookie(name)} if name else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url=HOST, cookies=cookies
        )

    def cookie(self, name: str) -> str:
        """The cookie of a browser in which ``name`` signed in."""
        return session_cookie(self.process, f"{name}-token")


@asynccontextmanager
async def open_portal(database_url: str) -> AsyncIterator[Portal]:
    """The application on a migrated database, which is filled first."""
    hub = Hub()
    process = Process(
        Settings(
            site=SiteSettings(name="Survey DAC", contact="help@example.org"),
            quota=QuotaSettings(site_awards=(AWARD,)),
        ),
        create_engine(database_url),
        hub=HubAPI("http://hub/hub/api", "t", transport=httpx.MockTransport(hub.answer)),
        clock=HeldClock(NOW),
        hub_token=HUB_TOKEN,
        portal_secret="a secret of the tests",
        public_url=HOST,
    )
    site = await seed(process)
    yield Portal(create_app(process), process, hub, site)
    await process.close()


# One a file: what a file's tests leave behind must not depend on which worker runs which files.
@pytest.fixture(scope="module")
async def portal(databases: Databases, migrated_template: str) -> AsyncIterator[Portal]:
    async with open_portal(databases.create(template=migrated_template)) as opened:
        yield opened


@pytest.fixture
def sign_in(portal: Portal) -> Callable[[str | None], httpx.AsyncClient]:
    return portal.client


def csrf(page: httpx.Response) -> str:
    """The token of the first form of a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]
