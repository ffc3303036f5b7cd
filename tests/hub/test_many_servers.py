"""What the hub does for all servers again and again leaves it time for everything else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from dachub.hub import runtime

PEOPLE = 3000


async def test_others_have_their_turn_while_thousands_of_servers_are_looked_at() -> None:
    users = {name: SimpleNamespace(spawners={"": object()}) for name in range(PEOPLE)}
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    looked_at = [one async for one in runtime._spawners(SimpleNamespace(users=users))]
    task.cancel()
    assert len(looked_at) == PEOPLE
    assert turns >= PEOPLE / runtime.PEOPLE_AT_A_TIME
