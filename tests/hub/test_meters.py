"""What the figures of starts count."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.hub.running import SIZES

from dachub.hub import runtime, sessions
from dachub.hub.queue import Gate, Queue, Waiting
from dachub.hub.sessions import SessionMixin
from dachub.hub.settings import ServerSettings
from dachub.model.people import HubPerson
from dachub.model.queue import Place
from dachub.model.sessions import SessionDescription
from dachub.model.site import ResolvedChoice
from dachub.model.software import Software

CHOICE = ResolvedChoice(group="virgo", size=SIZES[0], environment=Software(name="astronomy"))


class Clock:
    """The time that passes only where a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


class People:
    """Knows everybody."""

    async def last_known(self, username: str) -> HubPerson:
        return HubPerson(username=username)


class Outbox:
    """Takes everything."""

    async def requested(self, _session: SessionDescription) -> None:
        pass

    async def started(self, _session: SessionDescription, at: datetime, *_: object) -> datetime:
        return at


class Instant(SessionMixin):
    """A server that is there after seven seconds."""

    user = SimpleNamespace(name="ada")
    name = ""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def _decide(self, *_: object) -> tuple[ResolvedChoice, Place | None]:
        return CHOICE, None

    async def launch(self) -> Any:
        self._clock.seconds += 7
        return ("127.0.0.1", 1)

    def _note_start(self) -> None:
        pass

    def _save(self) -> None:
        pass

    async def _until_up(self, address: Any) -> None:
        pass


async def test_the_duration_of_a_start_does_not_span_its_wait_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, gate = Clock(), Gate(1)
    live = SimpleNamespace(
        queue=Queue(None),  # type: ignore[arg-type]  nobody is asked
        people=People(),
        outbox=Outbox(),
        start_gate=gate,
        settings=SimpleNamespace(servers=ServerSettings()),
    )
    monkeypatch.setattr(sessions, "time", clock)
    monkeypatch.setattr(runtime, "_current", live)
    before = REGISTRY.get_sample_value("dachub_start_duration_seconds_sum") or 0.0
    async with gate.turn(Waiting()):
        start = asyncio.create_task(Instant(clock)._start_session(None))
        for _ in range(20):  # until it stands in line
            await asyncio.sleep(0)
        assert gate._line
        clock.seconds += 600
    await start
    assert REGISTRY.get_sample_value("dachub_start_duration_seconds_sum") == before + 7
