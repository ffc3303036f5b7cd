"""The service on a real database and beside a real hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from tests.conftest import Databases
from tests.server.realhub import RealHub, free_port
from tests.server.world import HUB_TOKEN, World, seed

from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.infra.logging import configure_logging
from dachub.server.app import create_app
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI
from dachub.storage.settings import StorageSettings

PUBLIC_URL = "http://dac.test"


@pytest.fixture(scope="session")
def service_port() -> int:
    """Where the hub's proxy expects the service."""
    return free_port()


@pytest.fixture(scope="session")
def hub(service_port: int) -> Iterator[RealHub]:
    directory = Path(tempfile.mkdtemp(prefix="dachub-service-hub-", dir="/tmp"))
    running = RealHub(directory, service_port)
    yield running
    running.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
async def world_engine(
    databases: Databases, migrated_template: str
) -> AsyncIterator[tuple[AsyncEngine, World]]:
    """Engine of a database with the small world in it."""
    engine = create_engine(databases.create(template=migrated_template))
    process = Process(Settings(), engine, hub=HubAPI("", ""), clock=_clock())
    world = await seed(process)
    yield engine, world
    await engine.dispose()


def _clock() -> HeldClock:
    from datetime import UTC, datetime

    return HeldClock(datetime(2027, 3, 10, 12, tzinfo=UTC))


@pytest.fixture
def world(world_engine: tuple[AsyncEngine, World]) -> World:
    return world_engine[1]


@pytest.fixture
async def process(
    world_engine: tuple[AsyncEngine, World], hub: RealHub, clock: HeldClock
) -> AsyncIterator[Process]:
    """The service's process; whatever it commits is forgotten after the test."""
    engine, _ = world_engine
    async with engine.connect() as connection:
        outer = await connection.begin()
        made = Process(
            Settings(),
            engine,
            hub=HubAPI(hub.api_url, hub.service_token),
            clock=clock,
            hub_token=HUB_TOKEN,
            portal_secret="portal-secret-of-the-tests",
            public_url=PUBLIC_URL,
            sessions=async_sessionmaker(
                connection,
                class_=AsyncSession,
                expire_on_commit=False,
                join_transaction_mode="create_savepoint",
            ),
        )
        yield made
        await made.hub.close()
        await outer.rollback()


@pytest.fixture
def app(process: Process) -> FastAPI:
    return create_app(process)


@pytest.fixture
async def committing(
    database_url: str, hub: RealHub, clock: HeldClock, tmp_path: Path
) -> AsyncIterator[Process]:
    """A process on a database of the test's own, with homes in the test's directory."""
    made = Process(
        Settings(storage=StorageSettings(homes=tmp_path)),
        create_engine(database_url),
        hub=HubAPI(hub.api_url, hub.service_token),
        clock=clock,
        database_url=database_url,
    )
    await seed(made)
    yield made
    await made.close()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A program that calls the API; errors inside reach it as answers, as they would for real."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=PUBLIC_URL
    ) as made:
        yield made


@pytest.fixture(scope="session")
def tokens(hub: RealHub) -> dict[str, str]:
    """A token of each person, of mia's and adam's servers, and the hub's own."""
    people = ("pia", "max", "mia", "oscar", "adam", "dora", "vera", "lola")
    return {
        **{name: hub.token(name) for name in people},
        "mia's server": hub.server_token("mia"),
        "adam's server": hub.server_token("adam"),
        "dora's server": hub.server_token("dora"),
        "hub": HUB_TOKEN,
    }


@pytest.fixture(scope="session", autouse=True)
def _logging() -> None:
    """Log as the service does."""
    configure_logging(None)
