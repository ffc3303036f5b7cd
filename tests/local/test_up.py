"""``dachub up`` for real: a first start, what is refused, the death of the supervisor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import psutil
import pytest
from tests.harness.platform import Platform
from tests.harness.waiting import until

pytestmark = pytest.mark.hub


def up(platform: Platform, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``dachub up``, which is to refuse, to its end."""
    return subprocess.run(
        platform.command("up", "--data", str(platform.data), *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        env=platform.environ() | environment,
        check=False,
    )


def ended(pid: int) -> bool:
    """Whether a process has ended; nobody may have collected it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_refused(done: subprocess.CompletedProcess[str], platform: Platform, code: str) -> None:
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (platform.data / "run" / "supervisord.sock").exists()
    assert platform.own_processes() == []


def test_faults_are_told_before_anything_starts() -> None:
    platform = Platform({"logs": {"level": "info"}})
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", platform.port))
            taken.listen()
            refused = up(platform, "--port", str(platform.port))
        assert_refused(refused, platform, "port-busy")
        port = ("--port", str(platform.port))
        refused = up(platform, *port, DACHUB_USER_ENVIRONMENT="/nonexistent/python")
        assert_refused(refused, platform, "interpreter-broken")
        assert_refused(up(platform, *port, "--host", "0.0.0.0"), platform, "plain-http-refused")
        (platform.data / "dachub.yaml").write_text("listen: {prot: 1}\n")
        assert_refused(up(platform, *port), platform, "configuration-invalid")
        (platform.data / "dachub.yaml").write_text(
            "database: {url: 'postgresql://u@127.0.0.1:1/d'}\n"
        )
        assert_refused(up(platform, *port), platform, "database-unreachable")
        assert not (platform.data / "postgres" / "cluster").exists()
    finally:
        platform.close()


def test_first_start_and_the_death_of_the_supervisor() -> None:
    with Platform() as platform:
        until(lambda: "Stop: Ctrl-C" in platform.output.read_text(), "the banner")
        password = platform.admin_password()
        banner = platform.output.read_text()
        assert password in banner
        assert (platform.data / "admin-password").stat().st_mode & 0o777 == 0o600
        assert (platform.data / "dachub.yaml").stat().st_mode & 0o777 == 0o600
        second = up(platform)
        assert second.returncode == 1
        assert "[already-running]" in second.stderr

        [person] = platform.json("user", "list")
        assert (person["username"], person["administrator"]) == ("admin", True)
        assert person["groups"] == [
            {"group": "trial", "title": "Trial", "role": "pi", "source": "local"}
        ]
        [allocation] = platform.json("allocation", "list")
        assert (allocation["amount"], allocation["policy"]) == (3_600_000_000, "warn")

        status = platform.json("status")
        assert status["running"] is True
        assert [part["state"] for part in status["parts"]] == ["RUNNING"] * 3
        assert all(part["since"] for part in status["parts"])
        assert status["database"]["size_bytes"] > 0
        assert {"dachub", "jupyterhub", "postgresql"} <= set(status["versions"])
        assert set(status["outbox"]) == {"waiting", "oldest_at", "refused"}
        findings = platform.json("doctor")
        assert [f for f in findings if f["severity"] == "error"] == []
        for secret in (platform.data / "secrets").iterdir():
            value = secret.read_text().strip()
            assert value not in banner
            for process in platform.own_processes():
                assert value not in " ".join(process.cmdline())

        parts = platform.pids()
        supervisor = int((platform.data / "run" / "supervisord.pid").read_text())
        os.kill(supervisor, signal.SIGKILL)
        process = platform._process
        assert process is not None
        assert process.wait(60) == 1
        assert "supervisord ended" in platform.output.read_text()
        for part, pid in parts.items():
            until(lambda pid=pid: ended(pid), f"the end of {part}")

        new = "another password\n"
        platform.output.write_text("")
        platform.start()
        until(lambda: "Stop: Ctrl-C" in platform.output.read_text(), "the banner")
        assert password not in platform.output.read_text(), "it was shown once"
        assert str(platform.data / "admin-password") in platform.output.read_text()
        platform.dachub("user", "password", "admin", "--password-stdin", stdin=new)
        assert platform.interrupt() == 0
        platform.start()
        assert not (platform.data / "admin-password").exists(), "it has been changed"
