"""Waiting at the hub: one request for all, honest places, and nobody forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from dachub.hub import queue as module
from dachub.hub.queue import Gate, Queue, Waiting
from dachub.hub.service import ServiceDown, ServiceRefused
from dachub.model.queue import Place, QueueAnswer, QueueRequest, WaitsFor

NUMBERS = range(1, 301)


def place(number: int, waiting: int = 300) -> Place:
    return Place(
        number=number, waiting=waiting, waits_for=WaitsFor.SITE, message=f"{number} of {waiting}"
    )


class Service:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[QueueRequest] = []
        self.places: dict[UUID, Place] = {}
        self.error: Exception | None = None

    async def queue(self, request: QueueRequest, _timeout_seconds: float) -> QueueAnswer:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return QueueAnswer(places=self.places)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def queue(service: Service) -> Queue:
    return Queue(service)  # type: ignore[arg-type]  all of it that a queue uses


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def first(waiting: Waiting) -> str:
    return await anext(waiting.texts())


async def test_one_request_asks_for_all_and_each_sees_their_own_place(
    queue: Queue, service: Service
) -> None:
    await queue.ask()
    assert not service.requests
    seen = [Waiting() for _ in NUMBERS]
    tasks = [
        asyncio.create_task(queue.wait(UUID(int=n), place(n), waiting))
        for n, waiting in zip(NUMBERS, seen, strict=True)
    ]
    await settle()
    service.places = {UUID(int=n): place(n - 1, 299) for n in NUMBERS if n > 1}
    await queue.ask()
    await settle()
    assert [len(request.waiting) for request in service.requests] == [300]
    assert [task.done() for task in tasks] == [n == 1 for n in NUMBERS]
    assert await first(seen[299]) == "299 of 299"
    service.places = {}
    await queue.ask()
    await asyncio.gather(*tasks)
    await queue.ask()
    assert len(service.requests) == 2


async def test_who_gives_up_is_told_of_until_the_service_has_heard(
    queue: Queue, service: Service
) -> None:
    session_id = UUID(int=1)

    async def start() -> None:
        async with queue.entry(session_id):
            await queue.wait(session_id, place(1), Waiting())

    task = asyncio.create_task(start())
    await settle()
    task.cancel()
    await settle()
    service.error = ServiceDown("away")
    await queue.ask()
    service.error = None
    await queue.ask()
    await queue.ask()
    assert [request.left for request in service.requests] == [[session_id]] * 2


@pytest.mark.parametrize("error", [ServiceDown("away"), ServiceRefused(404, "not-found", "old")])
async def test_a_silent_service_keeps_nobody_waiting_for_ever(
    queue: Queue, service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    passed = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: passed[0])
    task = asyncio.create_task(queue.wait(UUID(int=1), place(1), Waiting()))
    await settle()
    service.error = error
    for seconds, is_over in ((module.SILENCE_SECONDS - 1, False), (module.SILENCE_SECONDS, True)):
        passed[0] = seconds
        await queue.ask()
        await settle()
        assert task.done() == is_over


async def test_who_came_first_starts_first_and_the_others_see_their_place() -> None:
    gate, started, ends = Gate(2), list[int](), asyncio.Event()
    seen = [Waiting() for _ in range(5)]

    async def start(number: int) -> None:
        async with gate.turn(seen[number]):
            started.append(number)
            seen[number].over()
            await ends.wait()

    tasks = [asyncio.create_task(start(number)) for number in range(5)]
    await settle()
    assert started == [0, 1]
    assert (await first(seen[4])).startswith("You are number 3 of 3 in the queue: 2 servers start")
    tasks[3].cancel()
    await settle()
    assert (await first(seen[4])).startswith("You are number 2 of 2")
    ends.set()
    await asyncio.wait(tasks)
    assert started == [0, 1, 2, 4]


async def test_every_change_is_seen_by_whoever_looks_and_the_end_ends_it() -> None:
    waiting = Waiting()
    look: Callable[[], asyncio.Task[list[str]]] = lambda: asyncio.create_task(  # noqa: E731
        _all(waiting)
    )
    early = look()
    for text in ("3 of 3", "2 of 3", "2 of 3", "1 of 3"):
        waiting.tell(text)
        await settle()
    late = look()
    await settle()
    waiting.over()
    assert await early == ["3 of 3", "2 of 3", "1 of 3"]
    assert await late == ["1 of 3"]
    assert await _all(waiting) == []


async def _all(waiting: Waiting) -> list[str]:
    return [text async for text in waiting.texts()]
