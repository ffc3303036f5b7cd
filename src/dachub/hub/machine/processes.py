"""Users' servers as processes of one machine: which they are, when they die, what they leave."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jupyterhub.spawner import LocalProcessSpawner

from dachub.hub.clock import now
from dachub.hub.machine import cgroups

PROC = Path("/proc")
SESSION_VARIABLE = "DACHUB_SESSION"


def process_identity(pid: int) -> str | None:
    """What tells a process from a later one of the same pid; ``None`` for the dead and zombies."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in parentheses may hold anything, also ") Z".
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZXx" else f"{boot}:{fields[19]}"


def session_processes(session_id: UUID) -> Iterator[int]:
    """Pids of all processes that were started for a session, some perhaps twice."""
    yield from cgroups.here().processes(session_id)
    wanted = f"{SESSION_VARIABLE}={session_id}".encode()
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def end_session_processes(session_id: UUID, patience_seconds: float = 5.0) -> int:
    """End every process of a session; how many there were. Blocks: for a thread."""
    deadline = time.monotonic() + patience_seconds
    ended: set[int] = set()
    while pids := [pid for pid in session_processes(session_id) if process_identity(pid)]:
        # Polite first: kernels may have something to write.
        kind = signal.SIGTERM if not ended else signal.SIGKILL
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, kind)
        ended.update(pids)
        if time.monotonic() > deadline:
            break
        time.sleep(0.3)
    return len(ended)


class ProcessSpawner(LocalProcessSpawner):  # type: ignore[misc]
    """A local process whose end is noticed at the moment it happens, also after the hub restarted.

    The hub's own poll (every 30 s) stays as a second line.
    """

    port: int
    died_at: datetime | None = None
    _identity: str | None = None
    _watched_fd: int | None = None
    _dead: asyncio.Event | None = None

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the process of a hub that ran before."""
        super().load_state(state)
        self._identity = state.get("identity")
        self.port = state.get("port", self.port)

    def get_state(self) -> dict[str, Any]:
        """What a later hub needs to find the process and its port."""
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state |= {"identity": self._identity, "port": self.port}
        return state

    def clear_state(self) -> None:
        """Forget the process."""
        super().clear_state()
        self._unwatch()
        self._identity = None
        self.died_at = None

    def make_preexec_fn(self, name: str) -> None:
        """Nothing runs between fork and exec: it is unsafe with threads; Popen sets the account."""

    async def get_url(self) -> str:
        """Where the server listens, also if a hub died before it wrote that down."""
        return f"http://127.0.0.1:{self.port}{self.server.base_url}"

    async def start(self) -> tuple[str, int]:
        """Start the process and watch it."""
        self.died_at = None
        self.proc = None
        address: tuple[str, int] = await super().start()
        self._identity = process_identity(self.pid)
        self._watch()
        return address

    async def poll(self) -> int | None:
        """``None`` while the process lives, else its exit status (0 where unknown)."""
        if self.proc is not None:
            status: int | None = self.proc.poll()
            if status is not None:
                self._note_death()
            return status
        if not self.pid or self._identity is None or process_identity(self.pid) != self._identity:
            return 0
        self._watch()
        return None

    async def stop(self, now: bool = False) -> None:
        """End the process, politely first, and whatever it left running."""
        await super().stop(now)

    async def wait_for_death(self, timeout: float = 10) -> bool:  # noqa: ASYNC109 - the hub's signature
        """Wait until the process is dead; no longer than ``timeout`` seconds."""
        if self._dead is None:
            return bool(await super().wait_for_death(timeout))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._dead.wait(), timeout)
        return await self.poll() is not None

    def _watch(self) -> None:
        """Have the kernel tell the loop when the process ends."""
        if self._watched_fd is not None:
            return
        try:
            fd = os.pidfd_open(self.pid)
        except OSError as error:  # already gone, or a kernel older than 5.3: polling has to do
            self.log.debug("No watch on process %s: %s", self.pid, error)
            return
        if self.proc is None and process_identity(self.pid) != self._identity:
            os.close(fd)
            return
        self._watched_fd, self._dead = fd, asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._on_death)

    def _unwatch(self) -> None:
        if self._watched_fd is not None:
            with suppress(RuntimeError):  # no loop any more: the hub is closing
                asyncio.get_running_loop().remove_reader(self._watched_fd)
            os.close(self._watched_fd)
            self._watched_fd = None

    def _note_death(self) -> None:
        self.died_at = self.died_at or now()
        if self._dead is not None:
            self._dead.set()
        self._unwatch()

    def _on_death(self) -> None:
        self._note_death()
        self._telling = asyncio.ensure_future(self._tell_hub())

    async def _tell_hub(self) -> None:
        """Let the hub clean up now, not at its next poll; it listens once the start is done."""
        while self._poll_callback is not None and not self._callbacks:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)
        if self._poll_callback is not None:
            await self.poll_and_notify()
