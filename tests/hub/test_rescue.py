"""A home without room: a message, and a session that comes up all the same."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.full_disk import fill, small_disk
from tests.harness.waiting import until
from tests.hub.running import RunningHub, Visitor, account
from tests.hub.test_spawning import final

from dachub.hub.machine import homes, scratch
from dachub.hub.settings import RescueSettings
from dachub.model.sessions import EndReason, EventKind, SessionEvent
from dachub.model.usage import GroupBalance

pytestmark = pytest.mark.hub
RESCUE = RescueSettings(free_bytes_min=1024**2)


@pytest.fixture
def disks() -> Iterator[ExitStack]:
    """File systems that are gone after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def person(service: FakeService) -> Iterator[str]:
    """Somebody with a Unix account that is removed afterwards; ask for it before the hub."""
    if os.geteuid() != 0:
        pytest.skip("only root may make accounts")
    username = f"r{uuid4().hex[:8]}"
    service.accounts.append(account(username))
    service.local_groups[username] = ["virgo"]
    yield username
    subprocess.run(["userdel", username], check=True, capture_output=True)


def started(service: FakeService, count: int) -> SessionEvent:
    """The last of so many sessions that started."""

    def events() -> list[SessionEvent]:
        return [one for one in service.events.values() if one.kind is EventKind.STARTED]

    return until(lambda: events()[-1] if len(events()) == count else None, "the session started")


def stop(visitor: Visitor, username: str) -> None:
    visitor.api("DELETE", f"/users/{username}/server")
    until(lambda: not visitor.api("GET", f"/users/{username}").json()["servers"], "it stopped")


@pytest.mark.root
def test_a_full_home_gets_a_rescue_session_and_a_normal_one_once_there_is_room(
    person: str,
    start_hub: Callable[..., RunningHub],
    service: FakeService,
    disks: ExitStack,
) -> None:
    hub = start_hub(unix_accounts=True, rescue=RESCUE)
    disks.enter_context(small_disk(hub.directory / "homes"))
    visitor = hub.browser()
    visitor.sign_in(person)
    visitor.spawn(group="virgo", size="small")
    assert started(service, 1).session.size == "small"
    stop(visitor, person)
    home = hub.directory / "homes" / person
    big = fill(home)

    service.down = True  # a full home is the hub's own finding
    assert visitor.spawn(group="virgo", size="small").status_code == 200
    (pid,) = hub.server_pids()
    service.down = False
    rescue = started(service, 2).session
    assert (rescue.size, rescue.milli_cores, rescue.group) == ("rescue", 500, "virgo")
    env = hub.server_environ(pid)
    assert "Your home directory is full" in env["DACHUB_RESCUE"]
    assert env["JUPYTERHUB_DEFAULT_URL"] == "/dachub/rescue"
    assert env["HOME"] == str(home)
    place = Path(env["JUPYTER_RUNTIME_DIR"])
    uid = pwd.getpwnam(person).pw_uid
    assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (uid, 0o700)
    assert place.stat().st_dev != home.stat().st_dev
    assert place.parent.parent.stat().st_uid == 0
    assert "rescue session" in hub.log()

    stop(visitor, person)
    assert not place.parent.parent.exists()
    service.balances["virgo"] = GroupBalance(group="virgo", used=9, left=0, message="All is used.")
    assert visitor.spawn(group="virgo", size="small").status_code == 200
    assert started(service, 3).session.size == "rescue"

    del service.balances["virgo"]
    big.unlink()
    stop(visitor, person)
    assert visitor.spawn(group="virgo", size="small").status_code == 200
    assert started(service, 4).session.size == "small"
    (pid,) = hub.server_pids()
    assert "DACHUB_RESCUE" not in hub.server_environ(pid)


def test_the_service_can_ask_for_a_rescue_session_and_nobody_else(
    hub: RunningHub, service: FakeService
) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    for service.down in (False, True):
        answer = ada.api("POST", "/users/ada/server", {"group": "virgo", "size": "rescue"})
        assert answer.status_code == 403
        assert "The size 'rescue' is not available" in answer.text
    service.down = False
    service.rescue["ada"] = "You use 120 of 100 GiB."
    assert ada.spawn(group="virgo", size="small").status_code == 200
    assert started(service, 1).session.size == "rescue"
    (pid,) = hub.server_pids()
    env = hub.server_environ(pid)
    assert env["DACHUB_RESCUE"] == "You use 120 of 100 GiB."
    place = Path(env["TMPDIR"]).parent.parent
    assert place.exists()

    # It has its time, whichever hub is there to end it.
    hub.kill()
    rescue = hub.settings.servers.rescue.model_copy(update={"limit_seconds": 10})
    servers = hub.settings.servers.model_copy(update={"rescue": rescue})
    hub.settings = hub.settings.model_copy(update={"servers": servers})
    hub.start()
    end = final(service)
    assert end.end_reason is EndReason.TIME_LIMIT
    assert end.started_at is not None
    assert not end.end_is_estimate
    assert 10 <= (end.at - end.started_at).total_seconds() < 60
    until(lambda: not place.exists(), "what it wrote is removed")
    ada = hub.browser()
    ada.sign_in("ada")
    assert "Your rescue session has had its time" in ada.client.get("/hub/spawn").text

    del service.rescue["ada"]
    assert ada.spawn(group="virgo", size="small").status_code == 200
    assert started(service, 2).session.size == "small"


@pytest.mark.root
def test_what_is_wrong_with_a_home_is_said(disks: ExitStack) -> None:
    # Below /tmp itself: the tests' own directories are closed to other accounts.
    top = Path(disks.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
    top.chmod(0o711)
    home = disks.enter_context(small_disk(top / "home"))
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    def trouble(at: Path = home, **settings: int) -> str | None:
        return asyncio.run(homes.trouble(at, nobody, RESCUE.model_copy(update=settings)))

    assert trouble() is None
    assert trouble(top / "none") is None
    assert "Many small files" in str(trouble(free_files_min=10**9))
    fill(home)
    said = str(trouble(free_bytes_min=0))
    assert said.startswith("Your home directory is full: 0 bytes of its file system's ")
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    assert "Read-only file system" in str(trouble())
    assert not list(home.glob(".dachub*"))


@pytest.mark.root
def test_a_probe_that_cannot_run_keeps_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody")
    closed = tmp_path / "python3"  # below a directory that is closed to others
    closed.symlink_to("/usr/bin/python3")
    monkeypatch.setattr(sys, "executable", str(closed))
    assert asyncio.run(homes.trouble(Path("/proc"), nobody, RESCUE)) is None
    monkeypatch.setattr(homes, "PROBE", tmp_path / "none.py")
    assert asyncio.run(homes.trouble(Path("/proc"), None, RESCUE)) is None


@pytest.mark.root
def test_the_scratch_directory_is_the_persons_alone_and_nothing_else_can_take_its_place(
    tmp_path: Path,
) -> None:
    nobody = pwd.getpwnam("nobody")
    session = uuid4()
    variables = scratch.make(session, Path("/proc"), nobody, [tmp_path / "none", tmp_path])
    inner = Path(variables["TMPDIR"]).parent
    outer = inner.parent
    assert (outer.stat().st_uid, outer.stat().st_mode & 0o777) == (0, 0o711)
    assert {at.stat().st_uid for at in (inner, *inner.iterdir())} == {nobody.pw_uid}
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (inner / "link").symlink_to(outside)
    (inner / "tmp").rmdir()
    (inner / "tmp").symlink_to(outside)
    with pytest.raises(scratch.NoScratch):
        scratch.make(session, Path("/proc"), nobody, [tmp_path])
    scratch.remove(session, [tmp_path])
    assert not outer.exists()
    assert (outside / "kept").exists()


def test_the_probe_leaves_nothing_behind_and_needs_only_python(tmp_path: Path) -> None:
    said = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", str(homes.PROBE), str(tmp_path)],
        capture_output=True,
        check=True,
    )
    assert json.loads(said.stdout)["error"] == 0
    assert list(tmp_path.iterdir()) == []
