"""supervisord: its configuration, and talking to it over its socket."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

from dachub.infra.files import write_private
from dachub.local.layout import Layout
from dachub.local.processes import ChildSpec, ProcessRecord
from dachub.model.problems import Unavailable

PARTS = ("postgres", "service", "hub")
"""In the order of their start; they stop in the opposite order."""
STOP_SIGNALS = {"postgres": "INT", "service": "TERM", "hub": "TERM"}
"""For PostgreSQL INT means: end the sessions and stop cleanly."""
STOP_SECONDS = {"postgres": 30, "service": 20, "hub": 30}
SUPERVISOR = "supervisord"
LOG_BYTES = 10 * 1024**2
LOG_BACKUPS = 5


@dataclass(frozen=True, slots=True)
class PartState:
    """How a supervised part is doing."""

    name: str
    state: str
    pid: int
    started_at: int
    """Unix time; 0 when it never ran."""
    description: str


class Supervisor:
    """A supervisord of one data directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def _rpc(self) -> Any:
        """A fresh connection: one that failed once, as when supervisord restarts, stays useless."""
        try:  # commands run in a pod too, which has none
            from supervisor.xmlrpc import SupervisorTransport
        except ModuleNotFoundError as error:
            raise Unavailable(
                "Nothing is supervised here: this is a part of a platform on a cluster. Ask from "
                "where it was installed: dachub deploy status"
            ) from error
        return xmlrpc.client.ServerProxy(
            "http://127.0.0.1",
            transport=cast(
                "xmlrpc.client.Transport",
                SupervisorTransport(None, None, f"unix://{self._layout.control_socket}"),
            ),
        ).supervisor

    def record_path(self, part: str) -> Path:
        """Where the process of a part (or of supervisord) is noted."""
        return self._layout.run / f"{part}.process.json"

    def spec_path(self, part: str) -> Path:
        """Where the description of a part lies."""
        return self._layout.run / f"{part}.child.json"

    def write(self, children: dict[str, ChildSpec]) -> None:
        """Write the descriptions of the parts and supervisord's configuration."""
        for part, spec in children.items():
            write_private(self.spec_path(part), spec.model_dump_json())
        parts = [part for part in PARTS if part in children]
        write_private(self._layout.run / "supervisord.conf", self._configuration(parts))

    def start(self, timeout_seconds: float = 15) -> subprocess.Popen[bytes]:
        """Start supervisord, with no part yet, in a session of its own; it ends when we end.

        Must be called from the main thread: the kernel ties the child to the thread that made it.

        Raises
        ------
        Unavailable
            If it does not answer in time.
        """
        self._layout.control_socket.unlink(missing_ok=True)
        log = self._layout.logs / "supervisord.start.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", "--", sys.executable, "-m",
                 "supervisor.supervisord", "--nodaemon", "--configuration",
                 self._layout.run / "supervisord.conf"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._layout.run,
            )  # fmt: skip
        record = ProcessRecord.of(process.pid)
        if record is not None:
            record.write(self.record_path(SUPERVISOR))
        until = time.monotonic() + timeout_seconds
        while not self.is_answering():
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                process.wait()
                tail = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
                raise Unavailable(f"supervisord did not start: {tail or 'it gave no reason'}")
            time.sleep(0.05)
        return process

    def is_answering(self) -> bool:
        """Whether supervisord answers on its socket."""
        try:
            return bool(self._rpc.getState()["statename"])
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def start_part(self, part: str) -> None:
        """Start a part; supervisord keeps it running from then on."""
        try:
            self._rpc.startProcess(part, False)
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise Unavailable(f"The part '{part}' could not be started: {error}.") from error

    def restart_part(self, part: str) -> None:
        """Stop and start a part."""
        try:
            self._rpc.stopProcess(part, True)
        except xmlrpc.client.Fault as error:
            if "NOT_RUNNING" not in error.faultString:
                raise Unavailable(f"The part '{part}' does not stop: {error}.") from error
        self.start_part(part)

    def states(self) -> list[PartState]:
        """How the parts are doing.

        Raises
        ------
        Unavailable
            If supervisord does not answer: the platform is not running.
        """
        try:
            infos = self._rpc.getAllProcessInfo()
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise Unavailable("The platform is not running; start it with: dachub up") from error
        return [
            PartState(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                started_at=info["start"],
                description=info["description"],
            )
            for info in sorted(infos, key=lambda info: PARTS.index(info["name"]))
        ]

    def _configuration(self, parts: list[str]) -> str:
        run, logs = _escaped(self._layout.run), _escaped(self._layout.logs)
        lines = [
            "[unix_http_server]",
            f"file = {_escaped(self._layout.control_socket)}",
            "chmod = 0600",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisord]",
            "nodaemon = true",
            "umask = 077",
            f"logfile = {logs}/supervisord.log",
            f"logfile_maxbytes = {LOG_BYTES}",
            f"logfile_backups = {LOG_BACKUPS}",
            f"pidfile = {run}/supervisord.pid",
            f"childlogdir = {logs}",
            *(["user = root"] if os.geteuid() == 0 else []),
        ]
        for order, part in enumerate(parts):
            command = shlex.join(
                [sys.executable, "-m", "dachub.local.launch", str(self.spec_path(part))]
            )
            lines += [
                f"[program:{part}]",
                f"command = {_escaped(command)}",
                f"priority = {order}",
                "autostart = false",
                "autorestart = true",
                "startsecs = 1",
                "startretries = 1000000",  # as long as the platform runs; the delay grows each time
                f"stopsignal = {STOP_SIGNALS[part]}",
                f"stopwaitsecs = {STOP_SECONDS[part]}",
                f"killasgroup = {'false' if part == 'postgres' else 'true'}",
                "redirect_stderr = true",
                f"stdout_logfile = {logs}/{part}.log",
                f"stdout_logfile_maxbytes = {LOG_BYTES}",
                f"stdout_logfile_backups = {LOG_BACKUPS}",
            ]
        return "\n".join(lines) + "\n"


def _escaped(value: str | Path) -> str:
    """``value`` where supervisord would expand percent signs."""
    return str(value).replace("%", "%%")
