"""Processes: told apart, ended, and ending with their supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness.waiting import until

from dachub.local.layout import Layout
from dachub.local.leftovers import PROXY_PID_FILE, end_leftovers
from dachub.local.processes import ChildSpec, ProcessRecord
from dachub.local.supervision import Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)",
]


def test_a_record_knows_its_process_from_a_later_one(tmp_path: Path) -> None:
    process = subprocess.Popen(SLEEP)
    record = ProcessRecord.of(process.pid)
    assert record is not None
    assert record.is_running
    record.write(tmp_path / "record")
    assert ProcessRecord.read(tmp_path / "record") == record
    another = record.model_copy(update={"identity": record.identity + "0"})
    assert not another.is_running
    another.end(signal.SIGKILL, 1)
    assert process.poll() is None, "a process of the same number is left alone"
    process.kill()
    process.wait()
    assert not record.is_running
    assert ProcessRecord.of(process.pid) is None
    (tmp_path / "record").write_text("{half")
    assert ProcessRecord.read(tmp_path / "record") is None


def test_one_that_does_not_listen_is_killed() -> None:
    process = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    record = ProcessRecord.of(process.pid)
    assert record is not None
    record.end(signal.SIGTERM, 0.5)
    assert process.wait(5) == -signal.SIGKILL


def test_a_zombie_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    until(
        lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z",
        "the process has ended",
    )
    assert ProcessRecord.of(process.pid) is None
    process.wait()


def test_a_child_inherits_no_secret_and_dies_with_its_supervisor(layout: Layout) -> None:
    told = layout.run / "told.json"
    program = (
        "import json, os, sys, time\n"
        f"open({str(told)!r}, 'w').write(json.dumps(dict(os.environ) | {{'cwd': os.getcwd()}}))\n"
        "time.sleep(600)"
    )
    spec = ChildSpec(
        command=[sys.executable, "-c", program],
        environment={"GIVEN": "value"},
        directory=layout.hub,
        death_signal="KILL",
        record=layout.run / "child.process.json",
    )
    path = layout.run / "child.json"
    path.write_text(spec.model_dump_json())
    # A supervisor that starts the child and is killed.
    supervisor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; "
            f"subprocess.run([sys.executable, '-m', 'dachub.local.launch', {str(path)!r}])",
        ],
        env={**os.environ, "DACHUB_OIDC_CLIENT_SECRET": "hunter2"},
    )
    until(lambda: told.exists() and told.read_text().endswith("}"), "the child runs")
    environment = json.loads(told.read_text())
    assert environment["GIVEN"] == "value"
    assert environment["cwd"] == str(layout.hub)
    assert "DACHUB_OIDC_CLIENT_SECRET" not in environment
    record = ProcessRecord.read(spec.record)
    assert record is not None
    assert record.is_running
    supervisor.kill()
    supervisor.wait()
    until(lambda: not record.is_running, "the child ended with it")


def test_leftovers_are_ended_and_nothing_else(layout: Layout) -> None:
    supervisor = Supervisor(layout)
    assert not end_leftovers(layout, supervisor)
    service, hub, stranger = (subprocess.Popen(SLEEP) for _ in range(3))
    proxy = subprocess.Popen(SLEEP, cwd=layout.hub)
    try:
        for part, process in (("service", service), ("hub", hub)):
            record = ProcessRecord.of(process.pid)
            assert record is not None
            record.write(supervisor.record_path(part))
        foreign = ProcessRecord(pid=stranger.pid, identity="another-boot/1")
        foreign.write(supervisor.record_path("postgres"))
        (layout.hub / PROXY_PID_FILE).write_text(str(proxy.pid))
        assert end_leftovers(layout, supervisor)
        for process in (service, hub, proxy):
            assert process.wait(5) == -signal.SIGTERM
        assert stranger.poll() is None
        assert not end_leftovers(layout, supervisor), "the records are gone"
    finally:
        for process in (service, hub, stranger, proxy):
            process.kill()
            process.wait()


def test_a_proxy_file_that_names_a_stranger_is_not_believed(layout: Layout) -> None:
    stranger = subprocess.Popen(SLEEP, cwd="/")
    try:
        (layout.hub / PROXY_PID_FILE).write_text(str(stranger.pid))
        assert not end_leftovers(layout, Supervisor(layout))
        (layout.hub / PROXY_PID_FILE).write_text("rubbish")
        assert not end_leftovers(layout, Supervisor(layout))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_supervisord_keeps_a_part_running_and_stops_in_order(layout: Layout) -> None:
    supervisor = Supervisor(layout)
    assert not supervisor.is_answering()
    ended = layout.run / "ended"
    program = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        f"    open({str(ended)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(15, stop); signal.signal(2, stop)\n"
        "time.sleep(600)"
    )
    children = {
        part: ChildSpec(
            command=[sys.executable, "-c", program, part],
            environment={},
            record=supervisor.record_path(part),
        )
        for part in ("postgres", "service", "hub")
    }
    supervisor.write(children)
    process = supervisor.start()
    try:
        for part in children:
            supervisor.start_part(part)
        until(
            lambda: all(state.state == "RUNNING" for state in supervisor.states()), "all parts run"
        )
        assert [state.name for state in supervisor.states()] == ["postgres", "service", "hub"]
        killed = supervisor.states()[1].pid
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: (state := supervisor.states()[1]).state == "RUNNING" and state.pid != killed,
            "supervisord started it again",
        )
    finally:
        process.terminate()
        process.wait(60)
    assert ended.read_text().split() == ["hub", "service", "postgres"]
