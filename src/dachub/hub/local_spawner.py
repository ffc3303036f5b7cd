"""The spawner of one machine: each person's server is a process under an account of their own."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from jupyterhub.utils import random_port

from dachub.hub import runtime
from dachub.hub.machine import homes, scratch
from dachub.hub.machine.accounts import ensure_account, ensure_home, known_account, link_groups
from dachub.hub.machine.limits import LimitedSpawner
from dachub.hub.machine.processes import end_session_processes
from dachub.hub.sessions import SessionMixin
from dachub.hub.settings import MachineSettings
from dachub.model.names import UNIX_GROUP
from dachub.model.sessions import EndReason
from dachub.model.site import RESCUE_SIZE, ResolvedChoice

LOG_BYTES_MAX = 10 * 1024**2
REASON_BYTES = 2000
REASON_LINES = 6


class LocalSpawner(SessionMixin, LimitedSpawner):
    """Starts servers as processes of this machine.

    As root every person has a Unix account; else all servers share the hub's account and their
    owners are not protected from each other. What of a size is enforced,
    :meth:`~dachub.hub.machine.cgroups.ControlGroups.enforcement` says.
    """

    _log_start = 0
    _interpreter = sys.executable
    _scratch: dict[str, str] = {}  # noqa: RUF012  replaced, never changed

    async def trouble(self) -> str | None:
        """Whether the home is full; one that is not there yet is made later."""
        local, account = self._settings(), None
        if local.unix_accounts:
            account = await asyncio.to_thread(known_account, self.user.name)
            if account is None:
                return None
        rescue = runtime.current().settings.servers.rescue
        return await homes.trouble(local.homes / self.user.name, account, rescue)

    async def prepare(self, choice: ResolvedChoice) -> None:
        """Account, home, log and command of the server."""
        local = self._settings()
        home = local.homes / self.user.name
        account: pwd.struct_passwd | None = None
        if local.unix_accounts:
            account = await asyncio.to_thread(ensure_account, self.user.name, home)
        await asyncio.to_thread(ensure_home, home, account)
        if local.group_links is not None:
            folders = local.group_links / self.user.name
            await asyncio.to_thread(link_groups, home, folders, account)
        self._interpreter = choice.environment.interpreter or sys.executable
        self.cmd = [self._interpreter, *local.command]
        self.ip = "127.0.0.1"
        self.port = random_port()
        self.notebook_dir = str(home)
        self._scratch = {}
        if self.rescue is not None and self.session is not None:
            directories = runtime.current().settings.servers.rescue.scratch_directories
            self._scratch = await asyncio.to_thread(
                scratch.make, self.session.session_id, home, account, directories
            )
        self._log_file = self._open_log(local)
        self.popen_kwargs = {
            "cwd": home,
            "stdin": subprocess.DEVNULL,
            "stdout": self._log_file,
            "stderr": subprocess.STDOUT,
            "umask": 0o077,
        }
        if account is not None:
            people = await asyncio.to_thread(grp.getgrnam, UNIX_GROUP)
            self.popen_kwargs |= {
                "user": account.pw_uid,
                "group": account.pw_gid,
                # What it opens, it opens to members of a research group only: their folder's door
                # lets nobody else come near.
                "extra_groups": [people.gr_gid],
                # Only the person is in their own group; what they copy into a folder of a
                # research group is to be open to its members.
                "umask": 0o007,
            }

    async def start(self) -> Any:
        """Start the server."""
        try:
            return await super().start()
        finally:
            if self._log_file is not None:
                self._log_file.close()
                self._log_file = None

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Home, name and path of the person; nothing of the hub's own environment comes along."""
        interpreter = Path(self._interpreter)
        env |= {
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "HOME": str(self._settings().homes / self.user.name),
            "SHELL": "/bin/bash",
            "PATH": f"{interpreter.parent}:/usr/local/bin:/usr/bin:/bin",
        }
        if (links := self._settings().group_links) is not None:
            env["DACHUB_GROUP_FOLDERS"] = str(links / self.user.name)
        env.setdefault("LANG", "C.UTF-8")
        return env | self._scratch

    async def failure_reason(self) -> str:
        """Whether memory ran out, and the end of the server's log since this start."""
        memory, tail = await asyncio.to_thread(lambda: (self.memory_reason(), self._log_tail()))
        return memory + (f"The last it said: {tail} — " if tail else "")

    async def clean_up(self) -> None:
        """End what the server left running: nothing works on without being charged."""
        if self.session is not None:
            left = await asyncio.to_thread(end_session_processes, self.session.session_id)
            if left:
                self.log.info("%s left %d processes running; ended", self._log_name, left)
            reason = await asyncio.to_thread(self.memory_reason)
            if reason:
                self.log.warning("%s ran out of memory. %s", self._log_name, reason)
            elif self.end_reason is EndReason.TIME_LIMIT:
                reason = "Your rescue session has had its time. Start again to make more room."
            runtime.current().last_ends[self.user.name] = reason
            await asyncio.to_thread(self.remove_groups)
            if self.session.size == RESCUE_SIZE:
                rescue = runtime.current().settings.servers.rescue
                await asyncio.to_thread(
                    scratch.remove, self.session.session_id, rescue.scratch_directories
                )

    _log_file: IO[bytes] | None = None

    def _settings(self) -> MachineSettings:
        local = runtime.current().settings.machine
        if local is None:
            raise RuntimeError("LocalSpawner needs the 'machine' section of the hub's settings")
        return local

    def _log_path(self) -> Path:
        return self._settings().log_directory / runtime.log_name(self.user.name, self.name)

    def _open_log(self, local: MachineSettings) -> IO[bytes]:
        local.log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._log_path()
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._log_start = os.fstat(handle).st_size
        return os.fdopen(handle, "ab", buffering=0)

    def _log_tail(self) -> str:
        try:
            with self._log_path().open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - REASON_BYTES))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return " / ".join(lines[-REASON_LINES:])[-500:]
