"""A process that reconciles and enforces, for tests of what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from tests.accounting.conftest import ADMINISTRATOR, Describe, life

from dachub.accounting.models import ActiveServer
from dachub.infra.clock import HeldClock
from dachub.model.sessions import SessionDescription, SessionRecord
from dachub.model.usage import Policy, QuotaPolicy, QuotaState, Resource
from dachub.quota.models import Vigil

if TYPE_CHECKING:
    from tests.quota.conftest import Services

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
STOP = QuotaPolicy(when_spent=Policy.STOP, stop_notice_seconds=900)


@dataclass
class Watchman:
    """A process that reconciles and enforces, once a minute; ``away`` is what the hub misses."""

    services: Services
    clock: HeldClock
    vigil: Vigil = field(default_factory=Vigil)
    away: set[UUID] = field(default_factory=set)

    async def reconcile(self) -> None:
        """Compare with a hub that runs what the ledger says, but for those ``away``."""
        active = [
            ActiveServer(
                username=one.username, server_name=one.server_name, ready=True,
                session_id=one.session_id,
            )
            for one in await self.services.sessions().running()
            if one.session_id not in self.away
        ]  # fmt: skip
        await self.services.reconciler().run(active)

    async def look(self) -> str:
        """Compare, and hold usage against allocations."""
        await self.reconcile()
        self.vigil, outcome = await self.services.enforcement().run(self.vigil)
        return outcome

    async def minutes(self, count: int) -> str:
        """Let minutes pass, looking at the end of each; returns the last outcome."""
        outcome = ""
        for _ in range(count):
            self.clock.advance(MINUTE)
            outcome = await self.look()
        return outcome

    async def stopped(self) -> Sequence[SessionRecord]:
        """What would be stopped now."""
        due = await self.services.sessions().due_for_stop(self.clock.now())
        self.vigil, confirmed, _ = await self.services.enforcement().confirmed(self.vigil, due)
        return confirmed

    async def told(self, username: str = "grace") -> list[str]:
        """Titles of a person's notices, the earliest first."""
        return [one.title for one in reversed(await self.services._notices.unread(username))]

    async def state(self) -> QuotaState:
        """How the group stands."""
        return (await self.services.quota().balance("lensing")).state

    async def due(self, session: SessionDescription) -> SessionRecord:
        """The session as it is."""
        return await self.services.sessions().show(ADMINISTRATOR, session.session_id)


@pytest.fixture
async def watchman(services: Services, lensing: str, clock: HeldClock) -> Watchman:
    """One that trusts what it sees."""
    made = Watchman(services, clock)
    assert (await made.look()).startswith("held: nothing is known")
    assert not (await made.minutes(3)).startswith("held")
    return made


async def runs(watchman: Watchman, describe: Describe, **changes: object) -> SessionDescription:
    """A server that starts now."""
    session = describe(**changes)
    await watchman.services.ledger().apply(life(session, watchman.clock.now()))
    return session


async def give(watchman: Watchman, hours: float, policy: QuotaPolicy = STOP) -> int:
    now = watchman.clock.now()
    made = await watchman.services.allocations().create(
        ADMINISTRATOR, group="lensing", resource=Resource.CORE_HOURS, amount=hours,
        starts_at=now, ends_at=now + timedelta(days=30), policy=policy, reason="panel A",
    )  # fmt: skip
    return made.allocation_id
