"""From the form to the ledger, with a real hub and real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import RunningHub

from dachub.model.sessions import EndReason, EventKind, SessionEvent

pytestmark = pytest.mark.hub


def kinds(service: FakeService) -> list[EventKind]:
    return [event.kind for event in service.events.values()]


def final(service: FakeService) -> SessionEvent:
    return until(
        lambda: next(
            (one for one in service.events.values() if one.kind in {"stopped", "failed"}), None
        ),
        "a final event",
    )


def test_a_session_is_told_from_request_to_end(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    assert ada.sign_in("ada").status_code == 200
    assert ada.spawn(group="virgo", size="tiny", environment="astronomy").status_code == 200
    until(lambda: len(service.events) == 2, "requested and started")
    (pid,) = hub.server_pids()
    env = hub.server_environ(pid)
    started = list(service.events.values())[1]
    assert env["DACHUB_GROUP"] == "virgo"
    assert env["DACHUB_SESSION"] == str(started.session.session_id)
    assert env["DACHUB_CORES"] == "0.25"
    assert env["DACHUB_MEMORY_BYTES"] == str(512 * 1024**2)
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["MEM_LIMIT"] == env["DACHUB_MEMORY_BYTES"]
    assert env["GIT_AUTHOR_NAME"] == "Ada L"
    assert env["HOME"] == str(hub.directory / "homes/ada")
    assert not {"DACHUB_HUB_TOKEN", "PYTHONPATH", "JUPYTERHUB_CRYPT_KEY"} & set(env)
    assert started.started_at is not None
    before = time.time()
    assert ada.api("DELETE", "/users/ada/server").status_code in {202, 204}
    end = final(service)
    assert end.kind is EventKind.STOPPED
    assert end.end_reason is EndReason.STOPPED
    assert not end.end_is_estimate
    assert int(before) <= end.at.timestamp() <= time.time()
    assert end.started_at == started.started_at
    assert kinds(service) == ["requested", "started", "stopped"]
    assert hub.sql("SELECT count(*) FROM outbox") == [(0,)]
    assert all(service.request_ids)


def test_a_server_that_exits_is_ended_at_that_second(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny", environment="astronomy")
    until(lambda: "started" in kinds(service), "started")
    (pid,) = hub.server_pids()
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    end = final(service)
    assert end.end_reason is EndReason.EXITED
    assert not end.end_is_estimate
    assert int(at) <= end.at.timestamp() <= at + 2
    until(lambda: not ada.api("GET", "/users/ada").json()["servers"], "the hub noticed", 5)


def test_a_server_that_dies_while_starting_says_why(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    script = "import sys; print('the disk of <b>virgo</b> is full', file=sys.stderr); sys.exit(3)"
    hub = start_hub(command=("-c", script))
    ada = hub.browser()
    ada.sign_in("ada")
    page = ada.spawn(group="virgo", size="tiny", environment="astronomy")
    assert page.status_code == 500
    assert "stopped while it was starting (exit status 3)" in page.text
    assert "the disk of &lt;b&gt;virgo&lt;/b&gt; is full" in page.text
    end = final(service)
    assert end.kind is EventKind.FAILED
    assert end.started_at is None


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"group": "coma"}, 403, "You are not a member of the group 'coma'"),
        ({"group": "virgo", "size": "huge"}, 403, "The size 'huge' is not available"),
        ({"group": "virgo", "size": "large"}, 403, "The size 'large' is not available"),
        ({"group": "virgo", "environment": "x"}, 403, "The environment 'x' is not available"),
        ({"group": {"a": 1}}, 422, "must be short texts"),
        ({"image": "mine"}, 422, "Unknown option 'image'"),
    ],
)
@pytest.mark.parametrize("service_down", [False, True])
def test_choices_are_checked_for_rest_too(
    hub: RunningHub,
    service: FakeService,
    options: dict[str, object],
    status: int,
    message: str,
    service_down: bool,
) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    service.down = service_down
    answer = ada.api("POST", "/users/ada/server", options)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["message"]
    assert not hub.server_pids()
    assert hub.sql("SELECT count(*) FROM session") == [(0,)]
