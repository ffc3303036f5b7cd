"""Who uses a version that goes is told so, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.server.world import described, happened

from dachub.hub.settings import ServerSettings
from dachub.model.sessions import EventKind
from dachub.model.software import Environment, EnvironmentVersion
from dachub.server.factory import Process
from dachub.server.retirement import tell_of_retirement

pytestmark = pytest.mark.hub


async def used(process: Process, username: str, environment: str) -> None:
    session = described(process, f"{username}-{environment}", username)
    session = session.model_copy(update={"environment": environment})
    async with process.factory() as services:
        await services.ledger().apply([happened(process, session, EventKind.STARTED, 3)])


def going(process: Process, days: int) -> ServerSettings:
    """An environment whose old version goes in so many days."""
    retired_on = process.clock.now().date() + timedelta(days=days)
    versions = (
        EnvironmentVersion(name="2027-03-01"),
        EnvironmentVersion(name="2026-11-20", retired_on=retired_on),
    )
    environment = Environment(name="astronomy", title="Astronomy", versions=versions)
    return ServerSettings(environments=(environment,))


async def titles(process: Process, username: str) -> list[str]:
    async with process.factory() as services:
        return [
            notice.title
            for notice in await services.notices().unread(username)
            if notice.kind == "software"
        ]


async def test_who_uses_it_is_told_once_and_nobody_else(process: Process) -> None:
    await used(process, "mia", "astronomy:2026-11-20")
    await used(process, "max", "astronomy:2027-03-01")
    process.settings = process.settings.model_copy(update={"servers": going(process, 10)})
    assert await tell_of_retirement(process) == "1 going, 1 people told"
    assert await tell_of_retirement(process) == "1 going, 0 people told"
    assert await titles(process, "mia") == ["Astronomy 2026-11-20 goes on 20 March 2027"]
    assert await titles(process, "max") == []
    async with process.factory() as services:
        (notice,) = [one for one in await services.notices().unread("mia") if "goes" in one.title]
    assert "Start with astronomy:2027-03-01 from now on" in notice.text


@pytest.mark.parametrize("days", [31, 0, -1])
async def test_nobody_is_told_too_early_or_when_it_is_gone(process: Process, days: int) -> None:
    await used(process, "mia", "astronomy:2026-11-20")
    process.settings = process.settings.model_copy(update={"servers": going(process, days)})
    assert await tell_of_retirement(process) == "no version goes"
