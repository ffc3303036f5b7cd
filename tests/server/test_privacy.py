"""Forgetting beside a real hub: servers and tokens first, then what it knows, then the name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.server.realhub import RealHub
from tests.server.world import OPERATOR

from dachub.infra.database import create_engine
from dachub.model.problems import DachubError
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI
from dachub.server.privacy import HomeNotDeleted, delete_home, forget_people
from dachub.server.stopping import end_disabled

pytestmark = pytest.mark.hub


@pytest.fixture
def process(committing: Process) -> Process:
    return committing


async def ask(process: Process, username: str, *, delete_home: bool = False) -> None:
    async with process.factory() as services:
        await services.forgetting().ask(OPERATOR, username, "asked", delete_home=delete_home)


async def settle(process: Process) -> None:
    """What the workers do, until nobody is left to forget."""
    async with asyncio.timeout(30):
        while True:
            await end_disabled(process)
            await forget_people(process)
            async with process.factory() as services:
                if not await services.forgetting().pending():
                    return
            await asyncio.sleep(0.05)


async def known(process: Process, username: str) -> bool:
    async with process.factory() as services:
        return username in await services.people().usernames()


async def forgotten(process: Process) -> list[str]:
    """Pseudonyms in the order of the audit log."""
    async with process.factory() as services:
        entries = await services.audit().list(OPERATOR, action="user-forgotten")
    return [str(entry.username) for entry in entries]


async def test_servers_and_tokens_end_first_then_hub_and_home_and_name(
    process: Process, hub: RealHub, tmp_path: Path
) -> None:
    home = tmp_path / "vera"
    (home / "deep").mkdir(parents=True)
    (home / "deep" / "file").write_text("x")
    (tmp_path / "max").mkdir()
    (home / "link").symlink_to(tmp_path / "max")
    await asyncio.to_thread(hub.server_token, "vera")
    await ask(process, "vera", delete_home=True)
    assert await forget_people(process) == "0 of 1 people forgotten"
    assert home.exists()
    await settle(process)
    assert not await known(process, "vera")
    assert "vera" not in {user["name"] for user in hub.api("GET", "/users")}
    assert not home.exists()
    assert (tmp_path / "max").exists()
    assert len(await forgotten(process)) == 1


async def test_a_hub_that_is_away_delays_it(
    process: Process, hub: RealHub, database_url: str
) -> None:
    await ask(process, "max")
    process_without_hub = Process(
        process.settings, create_engine(database_url),
        hub=HubAPI("http://127.0.0.1:1/hub/api", "x"), clock=process.clock,
    )  # fmt: skip
    async with process.factory() as services:
        for left in await services.people().left_behind():
            await services.people().enforced(left)
    with pytest.raises(DachubError):
        await forget_people(process_without_hub)
    await process_without_hub.close()
    assert await known(process, "max")
    await settle(process)
    assert not await known(process, "max")


async def test_a_home_that_cannot_be_deleted_keeps_the_person_until_it_can(
    tmp_path: Path,
) -> None:
    with pytest.raises(HomeNotDeleted):
        await delete_home(tmp_path, "../etc")
    await delete_home(tmp_path, "was-never-there")
