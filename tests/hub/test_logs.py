"""What the hub and the service log of one request can be found by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import TOKEN, RunningHub

from dachub.hub.logs import begin_request, end_request, request_id
from dachub.hub.service import Service


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[Service]:
    client = Service(service.url, TOKEN)
    end_request()
    yield client
    end_request()
    await client.close()


async def test_a_call_carries_the_id_of_the_request_being_served(
    client: Service, service: FakeService
) -> None:
    current = begin_request()
    await client.start_options("ada")
    await client.local_accounts(None)
    assert service.request_ids == [current, current]


async def test_a_call_of_no_request_gets_an_id_that_is_logged_too(
    client: Service, service: FakeService
) -> None:
    await client.start_options("ada")
    assert service.request_ids == [request_id.get()]
    end_request()
    await client.start_options("ada")
    assert service.request_ids[1] == request_id.get() != service.request_ids[0]


@pytest.mark.hub
def test_the_ids_stand_in_the_log_of_the_hub(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    service.fail_on = {"start-options": 500, '"events"': 500}
    seen = len(service.request_ids)
    ada.client.get("/hub/spawn")
    line = until(
        lambda: next(
            (one for one in hub.json_log() if "start page of ada" in one["message"]), None
        ),
        "the failure is logged",
    )
    assert line["http.request.id"] in service.request_ids[seen:]
    # What the hub does of itself has ids as well, a new one for each attempt.
    ada.spawn(group="virgo", size="tiny")
    attempts = until(
        lambda: [one for one in hub.json_log() if one["log.logger"] == "dachub.hub.delivery"],
        "a failed delivery is logged",
    )
    assert attempts[0]["http.request.id"] in service.request_ids
    assert attempts[0]["http.request.id"] != line["http.request.id"]
    until(
        lambda: service.deliveries == 0 and len(set(service.request_ids[seen:])) > 3, "tried anew"
    )
