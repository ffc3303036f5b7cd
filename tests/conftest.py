"""What every test may use: a real PostgreSQL for each worker, rolled back after each test."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from dachub import migrations
from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.infra.logging import log_to_standard_error
from dachub.local.postgres import binaries
from dachub.server.factory import Factory

START_DEADLINE_SECONDS = 60


WHOLE_MACHINE = ("hub", "local", "platform")
"""Folders whose tests start hubs, accounts and control groups: one at a time on a machine."""


def pytest_configure() -> None:
    """Log as commands do: structlog by itself takes half a minute to draw all that a test holds."""
    log_to_standard_error()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker, and those of the whole machine all on the same."""
    for item in items:
        folder = item.path.relative_to(config.rootpath / "tests").parts[0]
        group = "machine" if folder in WHOLE_MACHINE else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write what is seen to the golden files"
    )


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """Start a PostgreSQL on a private socket; gives the URL of its maintenance database.

    Parameters
    ----------
    durable
        Whether a commit waits for the disk: only for measurements.
    """
    root = os.geteuid() == 0
    account = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
    ids = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    # The kernel ends it with us, however we end.
    start = ["setpriv", "--pdeathsig", "INT", *(ids if root else [])]
    home = Path(tempfile.mkdtemp(prefix="dachub-pg-", dir="/tmp"))
    os.chown(home, account.pw_uid, account.pw_gid)
    programs, cluster, log = binaries(), home / "cluster", home / "log"
    unsynced = [] if durable else ["-F"]
    server: subprocess.Popen[bytes] | None = None
    try:
        initdb = [*start, programs / "initdb", "-D", cluster, "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [*initdb, "--no-sync", "--encoding", "UTF8", "--no-locale"],
            check=True,
            capture_output=True,
            cwd=home,
        )
        with log.open("wb") as out:
            server = subprocess.Popen(
                [*start, programs / "postgres", "-D", cluster, "-k", home, "-h", "", *unsynced],
                stdout=out,
                stderr=out,
                cwd=home,
            )
        url = f"postgresql://postgres@/postgres?host={home}"
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text(errors="replace")) from None
                time.sleep(0.05)
        yield url
    finally:
        if server is not None:
            server.send_signal(2)  # SIGINT: a fast shutdown
            server.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of the maintenance database of a PostgreSQL that this worker has to itself."""
    with running_postgres() as url:
        yield url


class Databases:
    """Makes databases in one PostgreSQL."""

    def __init__(self, maintenance_url: str) -> None:
        self.maintenance_url = maintenance_url
        self._made = 0

    def create(self, *, template: str | None = None) -> str:
        """URL of a new database, empty or a copy of ``template``."""
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.maintenance_url, autocommit=True) as connection:
            connection.execute(
                f"create database {name}" + (f" template {template}" if template else "")  # type: ignore[arg-type]
            )
        return self.maintenance_url.replace("/postgres?", f"/{name}?", 1)


@pytest.fixture(scope="session")
def databases(postgres: str) -> Databases:
    """Makes empty databases, for tests that commit."""
    return Databases(postgres)


@pytest.fixture(scope="session")
def migrated_template(databases: Databases) -> str:
    """Name of a migrated database that nobody connects to, to be copied."""
    url = databases.create()
    migrations.upgrade(url)
    return url.split("@/", 1)[1].split("?", 1)[0]


@pytest.fixture
def database_url(databases: Databases, migrated_template: str) -> str:
    """URL of a migrated database of the test's own, for tests that commit."""
    return databases.create(template=migrated_template)


OwnLoop = tuple[asyncio.AbstractEventLoop, AsyncEngine]


@pytest.fixture(scope="module")
def own_loop(databases: Databases, migrated_template: str) -> Iterator[OwnLoop]:
    """An engine on a loop of its own, for tests that commit: Hypothesis calls plain functions."""
    loop = asyncio.new_event_loop()
    engine = create_engine(databases.create(template=migrated_template))
    yield loop, engine
    loop.run_until_complete(engine.dispose())
    loop.close()


@pytest.fixture(scope="session")
async def engine(databases: Databases, migrated_template: str) -> AsyncIterator[AsyncEngine]:
    """Engine on a migrated database that all tests of the worker share; write through `db` only."""
    made = create_engine(databases.create(template=migrated_template))
    yield made
    await made.dispose()


@pytest.fixture
async def db(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Session in an outer transaction: a commit of the code under test ends a savepoint only."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        await outer.rollback()


@pytest.fixture
def clock() -> HeldClock:
    """A clock that stands still at noon, 2027-03-10 UTC."""
    return HeldClock(datetime(2027, 3, 10, 12, tzinfo=UTC))


@pytest.fixture
def factory(db: AsyncSession, clock: HeldClock) -> Factory:
    """All services on `db`, with the default settings and `clock`."""
    return Factory(Settings(), db, clock)
