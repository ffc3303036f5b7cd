"""Stops and kills of the hub, starts that never end, what must not outlive it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import httpx
import psutil
import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import RunningHub

from dachub.model.sessions import EndReason, EventKind, SessionEvent

pytestmark = pytest.mark.hub


@pytest.mark.kill
def test_a_start_that_a_kill_interrupts_is_undone(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(command=("-c", "import time; time.sleep(1000)"))
    ada = hub.browser()
    ada.sign_in("ada")

    def ask() -> None:
        with suppress(httpx.HTTPError):
            ada.api("POST", "/users/ada/server", {"group": "virgo"})

    threading.Thread(target=ask, daemon=True).start()
    until(hub.server_pids, "its process runs")
    hub.kill()
    hub.start()
    until(lambda: not hub.server_pids(), "the process is gone")
    until(lambda: len(service.events) == 2, "two events")
    assert [event.kind for event in service.events.values()] == ["requested", "failed"]


def test_a_start_that_takes_too_long_is_given_up(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(
        command=("-c", "import time; print('still reading', flush=True); time.sleep(1000)"),
        start_timeout_seconds=10,
    )
    ada = hub.browser()
    ada.sign_in("ada")
    ada.api("POST", "/users/ada/server", {"group": "virgo"})
    until(lambda: len(service.events) == 2, "given up", 40)
    assert [event.kind for event in service.events.values()] == ["requested", "failed"]
    until(lambda: not hub.server_pids(), "the process is gone")
    page = until(
        lambda: (
            (text := ada.client.get("/hub/spawn-pending/ada").text)
            and "did not answer within 10 s" in text
            and text
        ),
        "the person is told",
    )
    assert "still reading" in page


@pytest.mark.parametrize("survive", [True, False])
def test_a_stop_of_the_hub(
    start_hub: Callable[..., RunningHub], service: FakeService, survive: bool
) -> None:
    hub = start_hub(survive_hub_restart=survive)
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny")
    (pid,) = hub.server_pids()
    hub.stop()
    assert hub.server_pids() == ([pid] if survive else [])
    hub.start()
    if survive:
        os.kill(pid, signal.SIGTERM)
    until(lambda: len(service.events) == 3, "the end is told")
    end = list(service.events.values())[-1]
    assert end.kind is EventKind.STOPPED
    assert not end.end_is_estimate
    assert end.end_reason is (EndReason.EXITED if survive else EndReason.STOPPED)


def test_what_is_idle_is_stopped_and_what_is_in_use_is_not(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(idle_stop_seconds=12)
    for name in ("ada", "bob"):
        person = hub.browser()
        person.sign_in(name)
        assert person.spawn(group="virgo", size="tiny").status_code == 200
    bob = httpx.Client(base_url=hub.url, trust_env=False, timeout=10)

    def ada_ended() -> SessionEvent | None:
        assert bob.get("/user/bob/api").status_code == 200  # through the proxy, where it is seen
        ends = [one for one in service.events.values() if one.kind is EventKind.STOPPED]
        assert all(one.session.username == "ada" for one in ends)
        return next(iter(ends), None)

    end = until(ada_ended, "ada's server is stopped", 60, pause_seconds=0.5)
    # The reason is that of any stop through the hub's API, which is how the culler does it.
    assert (end.end_reason, end.end_is_estimate) == (EndReason.STOPPED, False)
    assert end.started_at is not None
    assert timedelta(seconds=11) <= end.at - end.started_at <= timedelta(seconds=59)
    assert len(hub.server_pids()) == 1
    assert "Culling server ada" in hub.log()
    bob.close()


@pytest.mark.kill
def test_nothing_but_servers_outlives_a_killed_hub(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    """An orphaned culler or proxy would get in the way of the next hub."""
    hub = start_hub(idle_stop_seconds=60)
    assert hub.process is not None
    children = psutil.Process(hub.process.pid).children(recursive=True)
    commands = " ".join(" ".join(child.cmdline()) for child in children)
    assert "jupyterhub_idle_culler" in commands
    assert "dachub.hub.proxy" in commands
    hub.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
