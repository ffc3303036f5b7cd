"""Made-up people of an instance: the same for the same seed, all of them or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from tests.conftest import Databases

from dachub.config import Settings, SyntheticSettings
from dachub.directory.models import Principal, PrincipalKind, WeakPassword
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.server import firstdata, synthetic
from dachub.server.app import create_app
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

BY = Principal("service", PrincipalKind.OPERATOR)
NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)
PASSWORD = "a password of the tests"
WANTED = SyntheticSettings(people=6, groups=2, weeks=3, instance="dev")


@pytest.fixture
async def process(databases: Databases, migrated_template: str) -> AsyncIterator[Process]:
    engine = create_engine(databases.create(template=migrated_template))
    yield Process(Settings(synthetic=WANTED), engine, hub=HubAPI("", ""), clock=HeldClock(NOW))
    await engine.dispose()


def test_the_same_seed_makes_the_same_work_and_none_in_the_future() -> None:
    settings = Settings()
    made = list(synthetic.work(settings, WANTED, NOW))
    assert made == list(synthetic.work(settings, WANTED, NOW))
    other = WANTED.model_copy(update={"seed": 2})
    assert made != list(synthetic.work(settings, other, NOW))
    assert len({one.session.session_id for one in made}) == len(made) > 20
    for one in made:
        assert one.started_at is not None
        assert one.session.requested_at <= one.started_at < one.at <= NOW


async def test_they_are_made_once_with_groups_work_and_allocations(process: Process) -> None:
    assert await firstdata.seed(process, BY, lambda: PASSWORD, PASSWORD) == PASSWORD
    assert await firstdata.seed(process, BY, lambda: PASSWORD, PASSWORD) is None
    async with process.factory() as factory:
        people = await factory.people().list(BY)
        assert [one.username for one in people if one.username.startswith("synthetic-")] == [
            f"synthetic-{number:03d}" for number in range(6)
        ]
        members = await factory.groups().members("synthetic-00")
        assert [(one.username, one.role.value) for one in members] == [
            ("synthetic-000", "pi"),
            ("synthetic-002", "member"),
            ("synthetic-004", "member"),
        ]
        assert not await factory.ledger().check_usage_days()
        allocations = await factory.allocations().list(BY, group="synthetic-01")
        assert 0 < allocations[0].used < allocations[0].amount


async def test_all_are_made_or_nothing(process: Process) -> None:
    with pytest.raises(WeakPassword):
        await firstdata.seed(process, BY, lambda: PASSWORD, "short")
    async with process.factory() as factory:
        assert not await factory.people().count()


async def test_nobody_is_made_up_without_a_password(process: Process) -> None:
    await firstdata.seed(process, BY, lambda: PASSWORD)
    async with process.factory() as factory:
        assert await factory.people().count() == 1


async def test_every_page_says_that_they_are_made_up(process: Process) -> None:
    transport = httpx.ASGITransport(app=create_app(process))
    async with httpx.AsyncClient(transport=transport, base_url="http://dac.test") as browser:
        page = await browser.get("/services/dac/nowhere", headers={"Accept": "text/html"})
    assert "instance “dev”" in page.text
    assert "made up" in page.text
