"""A real hub whose servers wait for cores: seen, given up, and let in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import RunningHub, Visitor

from dachub.model.queue import Place, WaitsFor

pytestmark = pytest.mark.hub


def place(number: int) -> Place:
    return Place(
        number=number, waiting=9, waits_for=WaitsFor.SITE, message=f"You are number {number} of 9"
    )


@pytest.fixture
def ada(hub: RunningHub, service: FakeService) -> Visitor:
    """She has asked for a server, and waits."""
    service.waiting["ada"] = place(7)
    visitor = hub.browser()
    visitor.sign_in("ada")
    answer = visitor.api("POST", "/users/ada/server", {"group": "virgo", "size": "tiny"})
    assert answer.status_code == 202, answer.text
    return visitor


def messages(visitor: Visitor) -> Iterator[str]:
    """What the page of a starting server is told, as it is told."""
    address, token = "/hub/api/users/ada/server/progress", visitor._xsrf()
    ask = {"params": {"_xsrf": token}, "headers": {"Accept": "text/event-stream"}}
    with visitor.client.stream("GET", address, **ask) as answer:  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield str(json.loads(line.removeprefix("data: ")).get("message"))


def test_the_waiting_person_sees_each_place_and_then_the_start(
    ada: Visitor, service: FakeService, hub: RunningHub
) -> None:
    assert not service.events  # what waits is in no ledger
    with closing(messages(ada)) as told:
        assert next(told) == "Server requested"
        assert next(told) == "You are number 7 of 9"
        service.waiting["ada"] = place(2)
        assert next(told) == "You are number 2 of 9"
        del service.waiting["ada"]
        assert next(told) == "Your server is starting"
        assert next(told).startswith("Server ready at")
    assert len(service.asked) == 1
    (started,) = until(
        lambda: [one for one in service.events.values() if one.kind == "started"], "it is told of"
    )
    assert [started.session.session_id] == list(service.asked)
    hub_says = ada.api("GET", "/users/ada").json()["servers"][""]
    assert hub_says["started"][:19] >= started.session.requested_at.isoformat()[:19]


def test_who_stops_a_waiting_server_gives_the_place_back(
    ada: Visitor, service: FakeService, hub: RunningHub
) -> None:
    assert ada.api("DELETE", "/users/ada/server").status_code in {202, 204}
    until(lambda: service.left == set(service.asked), "the service has heard of it")
    until(lambda: not ada.api("GET", "/users/ada").json()["servers"], "the hub has forgotten it")
    assert not service.events
    assert not hub.server_pids()
    del service.waiting["ada"]
    assert ada.spawn(group="virgo", size="tiny").status_code == 200


def test_who_may_not_start_any_more_is_told_when_their_turn_comes(
    ada: Visitor, service: FakeService
) -> None:
    with closing(messages(ada)) as told:
        assert [next(told), next(told)][1] == "You are number 7 of 9"
        service.disabled.add("ada")
        del service.waiting["ada"]
        assert "You are disabled." in next(told)  # and not that it starts
    assert not service.events


def test_a_wait_ends_with_a_message(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(queue_seconds=10)
    service.waiting["ada"] = place(7)
    ada = hub.browser()
    ada.sign_in("ada")
    ada.api("POST", "/users/ada/server", {"group": "virgo", "size": "tiny"})
    assert "waited 10 s for its turn and was given up" in [*messages(ada)][-1]
    until(lambda: service.left == set(service.asked), "the service has heard of it")
