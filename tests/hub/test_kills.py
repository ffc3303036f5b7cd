"""The hub is killed at every moment; each session ends up with one final event, or runs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import httpx
import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import RunningHub, account

from dachub.model.sessions import EndReason, SessionEvent

pytestmark = [pytest.mark.hub, pytest.mark.kill]


def by_session(service: FakeService) -> dict[str, list[SessionEvent]]:
    sessions: dict[str, list[SessionEvent]] = defaultdict(list)
    for event in list(service.events.values()):
        sessions[str(event.session.session_id)].append(event)
    return sessions


def finals(events: list[SessionEvent]) -> list[SessionEvent]:
    return [event for event in events if event.kind in {"stopped", "failed"}]


def test_a_server_lives_through_the_hub_and_is_found_again(
    hub: RunningHub, service: FakeService
) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny")
    (pid,) = hub.server_pids()
    until(lambda: len(service.events) == 2, "started")
    hub.kill()
    hub.start()
    until(lambda: ada.api("GET", "/users/ada").json().get("servers"), "found again")
    assert hub.server_pids() == [pid]
    # Its end is seen to the second, though it is no child of this hub.
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(service.events) == 3, "ended")
    end = list(service.events.values())[-1]
    assert end.end_reason is EndReason.EXITED
    assert not end.end_is_estimate
    assert int(at) <= end.at.timestamp() <= at + 2


def test_a_server_that_dies_without_a_hub_ends_where_it_was_last_seen(
    hub: RunningHub, service: FakeService
) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny")
    (pid,) = hub.server_pids()
    time.sleep(2.5)  # some heartbeats
    killed_at = time.time()
    hub.kill()
    os.kill(pid, signal.SIGKILL)
    time.sleep(3)
    hub.start()
    until(lambda: len(service.events) == 3, "ended")
    end = list(service.events.values())[-1]
    assert end.end_is_estimate
    assert end.end_reason is EndReason.LOST
    assert killed_at - 3 <= end.at.timestamp() <= killed_at + 1


@pytest.mark.timeout(600)
def test_kills_at_random_moments(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    """Six people start and stop servers all the time; the hub is killed again and again."""
    names = [f"person{number}" for number in range(6)]
    service.accounts = [account(name) for name in names]
    service.local_groups = {name: ["virgo"] for name in names}
    hub = start_hub()
    ending = threading.Event()
    seed = random.Random(20180607)

    def live(name: str, luck: random.Random) -> None:
        visitor = hub.browser()
        visitor.client.timeout = httpx.Timeout(5)
        while not ending.is_set():
            with contextlib.suppress(httpx.HTTPError, StopIteration):
                if visitor.sign_in(name).status_code != 200:
                    time.sleep(0.2)
                    continue
                while not ending.is_set():
                    visitor.api("POST", f"/users/{name}/server", {"group": "virgo", "size": "tiny"})
                    time.sleep(luck.uniform(0, 0.6))
                    if luck.random() < 0.2:
                        for pid in hub.server_pids():
                            with contextlib.suppress(OSError, KeyError):
                                if hub.server_environ(pid)["USER"] == name:
                                    os.kill(pid, signal.SIGKILL)
                    else:
                        answer = visitor.api("DELETE", f"/users/{name}/server")
                        if answer.status_code in {401, 403}:
                            break
                    time.sleep(luck.uniform(0, 0.3))
            time.sleep(0.1)

    threads = [
        threading.Thread(target=live, args=(name, random.Random(seed.random())), daemon=True)
        for name in names
    ]
    for thread in threads:
        thread.start()
    for _ in range(6):
        time.sleep(seed.uniform(1.5, 5))
        hub.kill()
        hub.start()
    ending.set()
    for thread in threads:
        thread.join(60)

    admin_seconds = 90
    visitors = {name: hub.browser() for name in names}
    for name, visitor in visitors.items():
        visitor.sign_in(name)

    def all_quiet() -> bool:
        for name, visitor in visitors.items():
            if visitor.api("GET", f"/users/{name}").json()["servers"]:
                visitor.api("DELETE", f"/users/{name}/server")
                return False
        return not hub.server_pids()

    until(all_quiet, "no server is left", admin_seconds)
    until(lambda: hub.sql("SELECT count(*) FROM outbox") == [(0,)], "everything is delivered")

    sessions = by_session(service)
    assert len(sessions) >= 20
    counts: dict[str, int] = defaultdict(int)
    for events in sessions.values():
        (end,) = finals(events)
        counts[f"{end.kind}{' (estimate)' if end.end_is_estimate else ''}"] += 1
        started = [event for event in events if event.kind == "started"]
        assert len(started) <= 1
        assert (end.kind == "stopped") == bool(started)
        if started:
            assert end.started_at == started[0].at <= end.at
        assert len([event for event in events if event.kind == "requested"]) == 1
    # Nobody's sessions overlap: one server each.
    for name in names:
        mine = sorted(
            (end.started_at, end.at)
            for events in sessions.values()
            for end in finals(events)
            if end.session.username == name and end.started_at is not None
        )
        for (_, ended), (began, _) in pairwise(mine):
            assert ended <= began
    assert hub.sql("SELECT count(*) FROM session WHERE ended_at IS NULL") == [(0,)]
    assert hub.sql("SELECT count(*) FROM dead_letter") == [(0,)]
    assert counts
