"""Sizes that the kernel enforces: real groups of version 1, imitated files of version 2."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.harness.witness import TINY_SERVER
from tests.hub.running import RunningHub
from tests.hub.test_spawning import final

from dachub.hub.machine import cgroups
from dachub.hub.machine.processes import process_identity
from dachub.model.sessions import EndReason, EventKind

MIB = 1024**2
HERE = cgroups.find()
limited = pytest.mark.skipif(
    set(HERE.parents) != {"cpu", "memory"}, reason="no control groups are writable here"
)


def beside_tiny_server(script: str) -> tuple[str, ...]:
    """A server that does more than its person was given, in a process beside it."""
    return (
        "-c",
        "import runpy, subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-c', {script!r}], env={{}});"
        f"runpy.run_path({str(TINY_SERVER)!r}, run_name='__main__')",
    )


def groups_of(service: FakeService) -> tuple[UUID, list[Path]]:
    events = until(lambda: list(service.events.values()), "the events arrived")
    session_id = events[0].session.session_id
    names = [parent / f"{cgroups.PREFIX}{session_id}" for parent in HERE.parents.values()]
    return session_id, names


@limited
@pytest.mark.hub
@pytest.mark.root
def test_a_server_gets_no_more_cpu_than_its_size(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    """The burner hides its environment, so that only its group tells whose it is."""
    hub = start_hub(command=beside_tiny_server("while True: pass"))
    ada = hub.browser()
    ada.sign_in("ada")
    assert ada.spawn(group="virgo", size="tiny").status_code == 200
    session_id, groups = groups_of(service)
    (server,) = hub.server_pids()
    pids = set(HERE.processes(session_id))
    assert server in pids
    (burner,) = pids - {server}
    process = psutil.Process(burner)
    begin, burned = time.monotonic(), sum(process.cpu_times()[:2])
    until(lambda: time.monotonic() - begin > 3, "three seconds")
    share = (sum(process.cpu_times()[:2]) - burned) / (time.monotonic() - begin)
    assert 0.05 < share < 0.35
    # Its input is not the gate's.
    assert Path(f"/proc/{server}/fd/0").readlink() == Path("/dev/null")
    ada.api("DELETE", "/users/ada/server")
    assert final(service).end_reason is EndReason.STOPPED
    until(lambda: not any(group.exists() for group in groups), "the groups are removed")
    assert process_identity(burner) is None


@limited
@pytest.mark.hub
@pytest.mark.root
def test_a_server_beyond_its_memory_is_ended_and_the_person_told(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hog = "x = []\nwhile True: x.append(b'x' * 2**24)"
    script = (
        "import os, pathlib, runpy, threading, time\n"
        "def wait():\n"
        "    while not pathlib.Path('grow').exists(): time.sleep(0.05)\n"
        f"    exec({hog!r})\n"
        "threading.Thread(target=wait, daemon=True).start()\n"
        f"runpy.run_path({str(TINY_SERVER)!r}, run_name='__main__')"
    )
    hub = start_hub(command=("-c", script))
    ada = hub.browser()
    ada.sign_in("ada")
    assert ada.spawn(group="virgo", size="tiny").status_code == 200
    _, groups = groups_of(service)
    grow = hub.directory / "homes/ada/grow"
    grow.touch()
    end = final(service)
    assert (end.kind, end.end_reason) == (EventKind.STOPPED, EndReason.EXITED)
    assert not end.end_is_estimate
    until(lambda: not any(group.exists() for group in groups), "the groups are removed")
    told = "needed more than the 0.5 GiB of memory of the size 'tiny'"
    assert told in hub.log()
    # On the next page they see.
    until(lambda: not ada.api("GET", "/users/ada").json()["servers"], "the hub noticed")
    assert "size &#39;tiny&#39;" in ada.client.get("/hub/spawn").text


@limited
@pytest.mark.hub
@pytest.mark.root
def test_a_start_beyond_its_memory_says_why(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(command=("-c", "x = []\nwhile True: x.append(b'x' * 2**24)"))
    ada = hub.browser()
    ada.sign_in("ada")
    ada.spawn(group="virgo", size="tiny", environment="astronomy")
    told = "needed more than the 0.5 GiB of memory"
    until(lambda: told in ada.client.get("/hub/spawn-pending/ada").text, "the person is told")
    assert final(service).kind is EventKind.FAILED
    until(lambda: not any(one.exists() for one in groups_of(service)[1]), "groups are removed")


@limited
@pytest.mark.root
def test_only_groups_that_nobody_uses_are_cleared_away() -> None:
    left, used = uuid4(), uuid4()
    sleeper = psutil.Popen(["sleep", "60"])
    try:
        for session_id in (left, used):
            for parent in HERE.parents.values():
                (parent / f"{cgroups.PREFIX}{session_id}").mkdir()
        assert HERE.admit(used, sleeper.pid, 1000, 64 * MIB) == []
        HERE.remove_empty()
        assert list(HERE.processes(used)) == [sleeper.pid] * 2
        for parent in HERE.parents.values():
            assert not (parent / f"{cgroups.PREFIX}{left}").exists()
        assert not HERE.remove(used, patience_seconds=0.1)
    finally:
        sleeper.kill()
        sleeper.wait()
        assert HERE.remove(used)


def test_a_failure_to_limit_is_said_and_no_more(tmp_path: Path) -> None:
    gone = cgroups.ControlGroups({"cpu": tmp_path / "gone", "memory": tmp_path / "gone"}, 1)
    problems = gone.admit(uuid4(), os.getpid(), 1000, MIB)
    assert [problem.split()[0] for problem in problems] == ["cpu", "memory"]
    assert "No such file" in problems[0]
    assert gone.kills(uuid4()) == 0
    assert list(gone.processes(uuid4())) == []


# Version 2: no kernel here to try it on; ordinary files of the kernel's names stand in.


def unified(tmp_path: Path, own: str, root: str = "/") -> tuple[Path, Path]:
    """An imitation of /proc and the mounted tree, with a delegated group."""
    proc, tree = tmp_path / "proc", tmp_path / "tree"
    for name in ("self", "42"):
        (proc / name).mkdir(parents=True)
        (proc / name / "cgroup").write_text(f"0::{own}\n")
    (proc / "self/mountinfo").write_text(
        "22 1 0:20 / /proc rw - proc proc rw\n"
        f"31 23 0:28 {root} {tree} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    delegated = tree / "system.slice" / cgroups.DELEGATED
    delegated.mkdir(parents=True)
    (delegated / "cgroup.controllers").write_text("cpu memory pids\n")
    (delegated / "cgroup.procs").write_text("")
    (delegated / "cgroup.subtree_control").write_text("")
    return proc, delegated


@pytest.mark.parametrize("pid", [None, 42])
def test_version_2_uses_the_delegated_group(tmp_path: Path, pid: int | None) -> None:
    proc, delegated = unified(tmp_path, "/system.slice/dachub.service")
    groups = cgroups.find(pid, proc)
    assert (groups.version, dict(groups.parents)) == (
        2,
        dict.fromkeys(("cpu", "memory"), delegated),
    )
    session_id = uuid4()
    group = delegated / f"{cgroups.PREFIX}{session_id}"
    group.mkdir()
    (group / "memory.swap.max").write_text("max\n")
    assert groups.admit(session_id, 4711, 250, 512 * MIB) == []
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {
        "cpu.max": "25000 100000",
        "memory.max": str(512 * MIB),
        "memory.swap.max": "0",
        "cgroup.procs": "4711",
    }
    assert list(groups.processes(session_id)) == [4711]
    (group / "memory.events").write_text("low 0\nhigh 0\noom 1\noom_kill 3\noom_group_kill 0\n")
    assert groups.kills(session_id) == 3
    assert not any("not enforced" in sentence for sentence in groups.enforcement()[:2])


def test_version_2_leaves_alone_what_was_not_delegated(tmp_path: Path) -> None:
    proc, delegated = unified(tmp_path, "/system.slice/dachub.service")
    (delegated / "cgroup.procs").write_text("1\n")  # processes inside: it cannot have limited ones
    assert not cgroups.find(None, proc).parents
    (delegated / "cgroup.procs").write_text("")
    (delegated / "cgroup.controllers").write_text("memory pids\n")
    assert set(cgroups.find(None, proc).parents) == {"memory"}
    for own in ("/user.slice/user-0.slice/session-3.scope", "/../elsewhere", "/"):
        (proc / "self/cgroup").write_text(f"0::{own}\n")
        assert not cgroups.find(None, proc).parents
    sentences = cgroups.ControlGroups().enforcement()
    assert all("not enforced" in sentence for sentence in sentences)


def test_a_tree_mounted_from_inside_is_read_right(tmp_path: Path) -> None:
    proc, delegated = unified(tmp_path, "/box/system.slice/dachub.service", root="/box")
    assert cgroups.find(None, proc).parents["cpu"] == delegated


def test_without_proc_nothing_is_enforced(tmp_path: Path) -> None:
    assert not cgroups.find(None, tmp_path).parents
