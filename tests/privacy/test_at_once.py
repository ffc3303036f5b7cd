"""Forgetting is done once and whole, whoever dies or comes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from tests.harness.waiting import waits_for_a_lock
from tests.server.world import ISSUER, OPERATOR, seed

from dachub.config import Settings
from dachub.directory.models import AccountDisabled
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.people import LoginRecord
from dachub.privacy.store.records import RecordStore
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI
from dachub.server.privacy import retain


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> AsyncIterator[Process]:
    """A service in which mia is to be forgotten, and the hub has let go of her."""
    made = Process(
        Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock,
        database_url=database_url,
    )  # fmt: skip
    await seed(made)
    async with made.factory() as services:
        await services.forgetting().ask(OPERATOR, "mia", "asked")
        for left in await services.people().left_behind():
            await services.people().enforced(left)
    yield made
    await made.close()


async def finish(process: Process) -> str | None:
    async with process.factory() as services:
        return await services.forgetting().finish("mia")


async def test_killed_in_the_middle_it_is_whole_the_next_time(
    process: Process, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    before = _dump(database_url)
    rename = RecordStore._rename_person
    calls = 0

    async def dies(self: RecordStore, *arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise ConnectionError("the machine lost power")
        await rename(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordStore, "_rename_person", dies)
    with pytest.raises(ConnectionError):
        await finish(process)
    assert _dump(database_url) == before
    monkeypatch.undo()
    assert await finish(process) is not None
    async with process.factory() as services:
        assert await services.ledger().check_usage_days() == []


def _dump(database_url: str) -> list[object]:
    with psycopg.connect(database_url) as connection:
        tables = ("person", "session", "usage_day", "membership", "audit", "pseudonym")
        return [
            connection.execute(f"select * from {table} order by 1").fetchall()  # type: ignore[arg-type]
            for table in tables
        ]


async def test_two_services_at_once_forget_once(process: Process, database_url: str) -> None:
    other = Process(
        process.settings, create_engine(database_url), hub=process.hub, clock=process.clock
    )

    outcomes = await asyncio.gather(*(finish(one) for one in (process, other, process, other)))
    await other.engine.dispose()
    assert sorted(outcome is None for outcome in outcomes) == [False, True, True, True]
    async with process.factory() as services:
        entries = await services.audit().list(OPERATOR, action="user-forgotten")
    assert [entry.username for entry in entries] == [name for name in outcomes if name]


async def test_who_logs_in_meanwhile_is_refused_or_new(process: Process) -> None:
    login = LoginRecord(
        issuer=ISSUER, subject="mia", username="mia", candidate="mia", at=process.clock.now()
    )

    async def sign_in() -> str:
        try:
            async with process.factory() as services:
                return (await services.logins().record(login)).username
        except AccountDisabled:
            return "refused"

    outcomes = await asyncio.gather(sign_in(), sign_in(), finish(process), sign_in(), sign_in())
    assert "mia" not in outcomes
    again = await sign_in()
    assert again.startswith("mia-")
    await retain(process)  # what the refusals wrote of the name meanwhile
    async with process.factory() as services:
        assert await services.audit().list(OPERATOR, username="mia") == []


async def test_a_name_bound_while_it_is_forgotten_is_given_to_nobody(process: Process) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def finish() -> None:
        async with process.factory() as services:
            await services.forgetting().finish("mia")
            entered.set()
            await go_on.wait()

    async def claim() -> str:
        async with process.factory() as services:
            login = LoginRecord(
                issuer=ISSUER, subject="other", candidate="mia", at=process.clock.now()
            )
            return (await services.logins().record(login)).username

    finishing = asyncio.create_task(finish())
    await entered.wait()
    claiming = asyncio.create_task(claim())
    await waits_for_a_lock(process.engine)
    go_on.set()
    await finishing
    assert (await claiming).startswith("mia-")
