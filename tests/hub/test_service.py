"""The hub's client of the service, where the service takes requests and does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dachub.hub import service as module
from dachub.hub.service import Service, ServiceDown
from dachub.model.sessions import new_session_id
from dachub.model.site import ServerChoice
from dachub.model.usage import AuthorizeRequest, Decision

ASKED = AuthorizeRequest(
    username="ada", choice=ServerChoice(group="virgo"), session_id=new_session_id()
)
DECISION = Decision(allowed=True, code="", message="", group="virgo", size="small")


class Hanging:
    """Takes every request; answers, with a decision, once it hangs no longer."""

    def __init__(self) -> None:
        self.hangs = True
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if not self.hangs:
            body = DECISION.model_dump_json().encode()
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            await writer.drain()
            writer.close()


@pytest.fixture
async def hanging() -> Hanging:
    return Hanging()


@pytest.fixture
async def client(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(module, "DECISION_SECONDS", 0.2)
    monkeypatch.setattr(module, "PROBE_SECONDS", 3600.0)
    listening = await asyncio.start_server(hanging.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = Service(f"http://127.0.0.1:{port}", "a-token")
    yield client
    await client.close()
    listening.close()


async def test_a_service_that_hangs_keeps_one_start_waiting_and_no_other(
    client: Service, hanging: Hanging
) -> None:
    for said in ("TimeoutError", "hangs", "hangs"):
        with pytest.raises(ServiceDown, match=said):
            await client.authorize(ASKED)
    assert hanging.asked == 1


async def test_any_answer_ends_it(client: Service, hanging: Hanging) -> None:
    with pytest.raises(ServiceDown):
        await client.authorize(ASKED)
    hanging.hangs = False
    with pytest.raises(ServiceDown, match="cannot be read"):  # the answer to another question
        await client.start_options("ada")
    assert await client.authorize(ASKED) == DECISION


async def test_a_start_finds_out_where_nothing_else_is_asked(
    client: Service, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.0)
    with pytest.raises(ServiceDown):
        await client.authorize(ASKED)
    hanging.hangs = False
    assert await client.authorize(ASKED) == DECISION


async def test_a_service_that_is_only_slow_is_waited_for(client: Service, hanging: Hanging) -> None:
    client._answered_at = float("inf")  # somebody always got an answer meanwhile
    for _ in range(2):
        with pytest.raises(ServiceDown, match="TimeoutError"):
            await client.authorize(ASKED)
    assert hanging.asked == 2
