"""The whole platform as a person starts it: ``dachub up`` in a process of its own.

Everything is on loopback, on free ports, in a data directory of its own, and ends with the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import httpx
import psutil
import yaml
from supervisor.xmlrpc import SupervisorTransport
from tests.harness.waiting import until

START_SECONDS = 120
STOP_SECONDS = 60
Part = Literal["postgres", "service", "hub", "proxy"]


def free_port() -> int:
    """A port of the loopback address that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Platform:
    """One running ``dachub up``.

    Parameters
    ----------
    settings
        Content of ``dachub.yaml``, beyond the port.
    account
        Unix account that starts it; the one of the tests where ``None``.
    environment
        Environment variables in addition.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        account: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.account = account
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/services/dac/api/v1"
        # Others' servers start below it: the way in must be open, as it is in /var/lib.
        self._top = Path(tempfile.mkdtemp(prefix="dachub-platform-", dir="/tmp"))
        self._top.chmod(0o755)
        self.data = self._top / "data"
        self.output = self._top / "up.log"
        self._settings = dict(settings or {})
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._accounts_before = {entry.pw_name for entry in pwd.getpwall()}
        if self._settings:
            self.data.mkdir(mode=0o711)
            config = self.data / "dachub.yaml"
            config.write_text(yaml.safe_dump(self._settings))
            config.chmod(0o600)
        if account is not None:
            owner = pwd.getpwnam(account)
            for path in (self._top, *self._top.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes -----------------------------------------------------------------------------

    def _as_account(self) -> list[str]:
        if self.account is None:
            return []
        owner = pwd.getpwnam(self.account)
        ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids]

    def environ(self) -> dict[str, str]:
        """Environment that its commands run in."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        return {
            **kept,
            "HOME": str(self._top),
            # What `make test` names: people's JupyterLab with the astronomy software.
            "DACHUB_USER_ENVIRONMENT": os.environ.get("DACHUB_USER_ENVIRONMENT", sys.executable),
            **self._environment,
        }

    def command(self, *arguments: str) -> list[str]:
        """The ``dachub`` command with ``arguments``, as the platform's account."""
        return [*self._as_account(), str(Path(sys.executable).with_name("dachub")), *arguments]

    def dachub(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run the ``dachub`` command on this data directory and give what it printed."""
        run = subprocess.run(
            self.command(*arguments, "--data", str(self.data)),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environ(),
            cwd=self._top,
        )
        if check and run.returncode != 0:
            raise AssertionError(f"dachub {' '.join(arguments)}: {run.stdout}{run.stderr}")
        return run.stdout

    def json(self, *arguments: str) -> Any:
        """What the ``dachub`` command prints with ``--json``."""
        return json.loads(self.dachub(*arguments, "--json"))

    def start(self, *, wait: bool = True) -> None:
        """Start ``dachub up`` and wait until people could log in."""
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                # Who runs tests in the background may have them ignore Ctrl-C, and us with them.
                [
                    "env",
                    "--default-signal=INT",
                    *self.command("up", "--data", str(self.data), "--port", str(self.port)),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environ(),
                cwd=self._top,
                start_new_session=True,  # a Ctrl-C of the tests is not one for the platform
            )
        if wait:
            self.wait_until_ready()

    @property
    def pid(self) -> int:
        """Process id of ``dachub up``."""
        assert self._process is not None
        return self._process.pid

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until hub and service answer through the proxy."""

        def ready() -> bool:
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"dachub up ended: {self.log()}")
            return self.healthy()

        try:
            until(ready, "the platform answers", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def healthy(self) -> bool:
        """Whether hub, service and database answer, through the proxy."""
        try:
            with httpx.Client(base_url=self.url, timeout=5, trust_env=False) as client:
                hub = client.get("/hub/api/")
                service = client.get("/services/dac/api/v1/health")
        except httpx.HTTPError:
            return False
        return hub.status_code == 200 and service.status_code == 200

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send ``dachub up`` a Ctrl-C and give its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(STOP_SECONDS)

    def supervisor(self) -> Any:
        """Supervisor's own interface: ``startProcess``, ``stopProcess``, ``getAllProcessInfo``."""
        import xmlrpc.client

        path = f"unix://{self.data}/run/supervisord.sock"
        return xmlrpc.client.ServerProxy(
            "http://127.0.0.1", transport=SupervisorTransport(None, None, path)
        ).supervisor

    def pids(self) -> dict[str, int]:
        """Process id of each part that runs now."""
        found = {
            info["name"]: int(info["pid"])
            for info in self.supervisor().getAllProcessInfo()
            if info["pid"]
        }
        proxy = self._proxy_pid()
        return found | ({"proxy": proxy} if proxy else {})

    def _proxy_pid(self) -> int | None:
        """Find the proxy by the port it listens on; it belongs to the hub, dead or alive."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "dachub.hub.proxy" in words and str(self.port) in words:
                return int(process.pid)
        return None

    def kill(self, part: Part, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a part a signal it cannot answer; gives the pid it had."""
        pid = until(lambda: self.pids().get(part), f"{part} runs")
        os.kill(pid, number)
        return pid

    # -- what it says --------------------------------------------------------------------------

    def admin_name(self) -> str:
        """The first administrator."""
        return "admin"

    def admin_password(self) -> str:
        """The first administrator's first password."""
        return (self.data / "admin-password").read_text().strip().splitlines()[-1]

    def sessions(self) -> list[dict[str, Any]]:
        """The ledger: every session, as the operator sees it."""
        found = self.json("session", "list", "--limit", "1000")
        return list(found)

    def log(self, lines: int = 60) -> str:
        """The end of what the parts said, for a failed test."""
        parts = [self.output, *sorted((self.data / "logs").glob("*"))]
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in parts
            if path.is_file() and path.suffix == ".log"
        )

    # -- the end -------------------------------------------------------------------------------

    def own_processes(self) -> Sequence[psutil.Process]:
        """Every process that knows this data directory: parts and people's servers."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and (
                    str(self._top) in " ".join(process.cmdline())
                    or str(self._top) in " ".join(process.environ().values())
                ):
                    mine.append(process)
        return mine

    def close(self) -> None:
        """End everything, remove the data and the Unix accounts that were made for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        for attempt in (signal.SIGTERM, signal.SIGKILL):
            left = self.own_processes()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(attempt)
            psutil.wait_procs(left, timeout=5)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
        for entry in pwd.getpwall():
            if entry.pw_name not in self._accounts_before and entry.pw_dir.startswith(
                str(self._top)
            ):
                subprocess.run(["userdel", entry.pw_name], check=False, capture_output=True)
        deadline = time.monotonic() + 10
        while self._top.exists() and time.monotonic() < deadline:
            shutil.rmtree(self._top, ignore_errors=True)
