"""Processes we started: how a child is described, recorded, and found again after a crash."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from dachub.infra.files import write_private

POLL_SECONDS = 0.1


class ChildSpec(BaseModel):
    """What :mod:`dachub.local.launch` needs to start a child; holds secrets, so mode 0600."""

    command: list[str]
    environment: dict[str, str]
    directory: Path = Path("/")
    user_id: int | None = None
    group_id: int | None = None
    death_signal: str = "TERM"
    """What the child receives when its supervisor dies."""
    record: Path
    """Where the child notes its :class:`ProcessRecord`."""


class ProcessRecord(BaseModel):
    """A process, told apart from a later one with the same number."""

    pid: int
    identity: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord | None:
        """The record of a running process; ``None`` if there is none of that number."""
        identity = _identity(pid)
        return None if identity is None else cls(pid=pid, identity=identity)

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """What :meth:`write` left; ``None`` where there is nothing of use."""
        try:
            return cls.model_validate_json(path.read_text(encoding="ascii"))
        except (OSError, ValidationError, UnicodeDecodeError):
            return None

    def write(self, path: Path) -> None:
        """Keep the record for the next start."""
        write_private(path, self.model_dump_json())

    @property
    def is_running(self) -> bool:
        """Whether this very process still runs."""
        return _identity(self.pid) == self.identity

    def end(self, first: signal.Signals, wait_seconds: float) -> None:
        """Ask it to end, and make it end when it has not after ``wait_seconds``."""
        for sign in (first, signal.SIGKILL):
            if not self.is_running:
                return
            os.kill(self.pid, sign)
            until = time.monotonic() + wait_seconds
            while self.is_running and time.monotonic() < until:
                time.sleep(POLL_SECONDS)


def _identity(pid: int) -> str | None:
    """Boot and moment of start, in clock ticks after the boot: unique for ever on a machine."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain anything
    state, started = fields[0], fields[19]
    return None if state == "Z" else f"{boot}/{started}"


def directory_of(pid: int) -> Path | None:
    """The working directory of a process; ``None`` if it is gone or not ours to see."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def executable_of(pid: int) -> Path | None:
    """The program that a process runs; ``None`` if it is gone or not ours to see."""
    try:
        return Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None
