"""Services of the directory on a database that forgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import HubPerson, LoginRecord
from dachub.server.factory import Factory

ISSUER = "https://idp.example/realms/survey"
ADMIN = Principal(name="operator:root", kind=PrincipalKind.OPERATOR)

SignIn = Callable[..., Awaitable[HubPerson]]


@pytest.fixture
def factory(db: AsyncSession, clock: HeldClock) -> Factory:
    return Factory(Settings(), db, clock)


@pytest.fixture
def admin() -> Principal:
    return ADMIN


@pytest.fixture
def sign_in(factory: Factory, clock: HeldClock) -> SignIn:
    """Sign somebody in at the provider, with claims as keywords."""

    async def do(candidate: str, subject: str | None = None, **claims: object) -> HubPerson:
        values = {"issuer": ISSUER, "at": clock.now(), **claims}
        return await factory.logins().record(
            LoginRecord(candidate=candidate, subject=subject or f"sub-{candidate}", **values)
        )

    return do
