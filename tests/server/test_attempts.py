"""One server, person or home that goes wrong holds up no other; the run fails all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.server.world import OPERATOR, described, happened, seed

from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.sessions import EventKind, SessionDescription
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI, HubUnavailable
from dachub.server.privacy import HomeNotDeleted, forget_people
from dachub.server.stopping import end_disabled, request_stop, stop_due
from dachub.storage.settings import StorageSettings


class Hub:
    """Answers 500 to whatever is about max; notes what it is told to delete."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.sessions: list[SessionDescription] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        below = request.url.path.removeprefix("/hub/api/users")
        if below.startswith("/max"):
            return httpx.Response(500)
        if request.method == "DELETE":
            self.deleted.append(below)
            return httpx.Response(204)
        if below == "":
            active = [_active(session) for session in self.sessions]
            return httpx.Response(200, json={"items": active, "_pagination": {"next": None}})
        return httpx.Response(200, json={})


def _active(session: SessionDescription) -> dict[str, object]:
    state = {"session": session.model_dump(mode="json")}
    server = {"name": session.server_name, "ready": True, "state": state}
    return {"name": session.username, "servers": {session.server_name: server}}


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def process(
    database_url: str, hub: Hub, clock: HeldClock, tmp_path: Path
) -> AsyncIterator[Process]:
    made = Process(
        Settings(storage=StorageSettings(homes=tmp_path)),
        create_engine(database_url),
        hub=HubAPI("http://hub/hub/api", "t", transport=httpx.MockTransport(hub.answer)),
        clock=clock,
    )
    await seed(made)
    yield made
    await made.close()


async def test_a_server_that_cannot_be_stopped_keeps_no_other_running(
    process: Process, hub: Hub
) -> None:
    hub.sessions = [described(process, f"due-{name}", name) for name in ("max", "pia")]
    async with process.factory() as services:
        for session in hub.sessions:
            await services.ledger().apply([happened(process, session, EventKind.STARTED, 3)])
            await request_stop(services, OPERATOR, session.session_id)
    with pytest.raises(HubUnavailable):
        await stop_due(process)
    assert hub.deleted == ["/pia/servers/named"]


async def test_a_disabled_person_whom_the_hub_cannot_end_keeps_no_other_in(
    process: Process,
) -> None:
    async with process.factory() as services:
        for username in ("max", "vera"):
            await services.people().disable(OPERATOR, username, "left")
    with pytest.raises(HubUnavailable):
        await end_disabled(process)
    async with process.factory() as services:
        assert [one.username for one in await services.people().left_behind()] == ["max"]


async def test_a_home_that_cannot_be_deleted_keeps_no_other_from_being_forgotten(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(homes: Path, username: str) -> None:
        raise HomeNotDeleted(f"{homes / username} is busy.")

    monkeypatch.setattr("dachub.server.privacy.delete_home", fails)
    async with process.factory() as services:
        for username in ("mia", "vera"):
            await services.forgetting().ask(
                OPERATOR, username, "asked", delete_home=username == "mia"
            )
    await end_disabled(process)
    with pytest.raises(HomeNotDeleted):
        await forget_people(process)
    async with process.factory() as services:
        assert [each.username for each in await services.forgetting().pending()] == ["mia"]
