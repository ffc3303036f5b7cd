"""From the form to the ledger, with a real hub and real processes."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.harness.witness import TINY_SERVER
from tests.hub.running import RunningHub, account

from dachub.hub.settings import MachineSettings
from dachub.model.names import UNIX_GROUP
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


REFUSED_CHOICES: list[tuple[dict[str, object], int, str]] = [
    ({"group": "coma"}, 403, "You are not a member of the group 'coma'"),
    ({"group": "virgo", "size": "huge"}, 403, "The size 'huge' is not available"),
    ({"group": "virgo", "size": "large"}, 403, "The size 'large' is not available"),
    ({"group": "virgo", "environment": "x"}, 403, "The environment 'x' is not available"),
    ({"group": {"a": 1}}, 422, "must be short texts"),
    ({"image": "mine"}, 403, "may not bring images"),
    ({"profile": "mine"}, 422, "Unknown option 'profile'"),
]


def test_choices_are_checked_for_rest_as_for_the_form(
    hub: RunningHub, service: FakeService
) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    for service.down in (False, True):
        for options, status, message in REFUSED_CHOICES:
            answer = ada.api("POST", "/users/ada/server", options)
            assert answer.status_code == status, answer.text
            assert message in answer.json()["message"]
    page = ada.spawn(group="coma", size="tiny")
    assert page.status_code == 403
    assert "You are not a member of the group &#39;coma&#39;" in page.text
    assert not hub.server_pids()
    assert hub.sql("SELECT count(*) FROM session") == [(0,)]


def test_disabled_people_start_nothing(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    service.disabled.add("ada")
    answer = ada.api("POST", "/users/ada/server", {"group": "virgo"})
    assert (answer.status_code, answer.json()["message"]) == (403, "You are disabled.")


def test_without_the_service_people_start_unless_the_site_says_no(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(when_service_is_down="deny")
    ada = hub.browser()
    ada.sign_in("ada")
    service.down = True
    answer = ada.api("POST", "/users/ada/server", {"group": "virgo"})
    assert answer.status_code == 503
    assert "accounting service does not answer" in answer.json()["message"]


def test_an_outage_loses_no_event(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    service.down = True
    assert ada.spawn(group="virgo", size="tiny").status_code == 200
    assert ada.api("DELETE", "/users/ada/server").status_code in {202, 204}
    until(lambda: hub.sql("SELECT count(*) FROM outbox") == [(3,)], "three events wait")
    service.down = False
    assert final(service).kind is EventKind.STOPPED
    assert kinds(service) == ["requested", "started", "stopped"]


def test_what_a_server_leaves_running_ends_with_it(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    """A daemon that a notebook started must not go on computing for free."""
    daemon = "import os, time; os.setsid(); time.sleep(1000)"
    script = (
        "import runpy, subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-c', {daemon!r}]);"
        f"runpy.run_path({str(TINY_SERVER)!r}, run_name='__main__')"
    )
    hub = start_hub(command=("-c", script))
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny")
    until(lambda: len(hub.server_pids()) == 2, "server and daemon run")
    ada.api("DELETE", "/users/ada/server")
    final(service)
    until(lambda: not hub.server_pids(), "both are gone")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="Unix accounts are made as root")
def test_each_person_has_a_unix_account_of_their_own(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    names = [f"t{uuid4().hex[:10]}" for _ in range(2)]
    service.accounts += [account(name) for name in names]
    service.accounts.append(account("daemon"))
    service.local_groups |= {name: ["virgo"] for name in [*names, "daemon"]}
    hub = start_hub(unix_accounts=True)
    try:
        for name in names:
            person = hub.browser()
            person.sign_in(name)
            assert person.spawn(group="virgo", size="tiny").status_code == 200
        uids = set()
        for pid in hub.server_pids():
            status = Path(f"/proc/{pid}/status").read_text()
            name = hub.server_environ(pid)["USER"]
            uid = pwd.getpwnam(name).pw_uid
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
            assert f"Groups:\t{grp.getgrnam(UNIX_GROUP).gr_gid} \n" in status
            home = hub.directory / "homes" / name
            assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (uid, 0o700)
            uids.add(uid)
        assert len(uids) == 2
        assert 0 not in uids
        # An account that is not ours: never taken over.
        taken = hub.browser()
        taken.sign_in("daemon")
        answer = taken.api("POST", "/users/daemon/server", {"group": "virgo"})
        assert answer.status_code == 409
        assert "already has an account 'daemon'" in answer.json()["message"]
        until(lambda: len([one for one in kinds(service) if one == "failed"]) == 1, "failed")
    finally:
        hub.close()
        for name in names:
            subprocess.run(["userdel", name], check=False, capture_output=True)


def test_a_file_in_the_home_does_not_stand_for_a_module_of_python(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('not me')\n")
    command = MachineSettings.model_fields["command"].default
    done = subprocess.run(
        [sys.executable, *command, "--version"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("not me")) == (0, 0)
