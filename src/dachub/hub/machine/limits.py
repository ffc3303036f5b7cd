"""Servers of one machine that the kernel holds to their size, where it lets us."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import suppress
from typing import Any

from dachub.hub.machine import cgroups
from dachub.hub.machine.processes import ProcessSpawner
from dachub.model.sessions import SessionDescription
from dachub.model.units import spoken_memory

GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "gate")
"""Waits for a line on its input before it becomes the server: what a person wrote runs only once
the server is in its groups. Between fork and exec we can run nothing ourselves (threads), and
joining after exec would leave a moment to fork and escape. If the hub dies, so does the gate."""


class LimitedSpawner(ProcessSpawner):
    """A process in control groups of its own; one that cannot be limited starts all the same."""

    session: SessionDescription | None
    cmd: Any
    popen_kwargs: Any
    proc: Any

    async def start(self) -> tuple[str, int]:
        """Start the process, and let it begin once it is limited."""
        groups, session = cgroups.here(), self.session
        if session is None or not groups.parents:
            return await super().start()
        self.cmd = [*GATE, *self.cmd]
        self.popen_kwargs = {**self.popen_kwargs, "stdin": subprocess.PIPE}
        address = await super().start()
        try:
            problems = await asyncio.to_thread(
                groups.admit,
                session.session_id,
                self.pid,
                session.milli_cores,
                session.memory_bytes,
            )
            for problem in problems:
                self.log.warning("%s is not limited: %s", self._log_name, problem)
        finally:
            with suppress(BrokenPipeError):
                self.proc.stdin.write(b"\n")
                self.proc.stdin.close()
        return address

    def memory_reason(self) -> str:
        """For the person: whether the kernel ended something for lack of memory; else nothing."""
        if self.session is None or not cgroups.here().kills(self.session.session_id):
            return ""
        memory = spoken_memory(self.session.memory_bytes)
        return (
            f"It needed more than the {memory} of memory of the size '{self.session.size}', so the "
            "system ended programs in it: choose a larger size, or load less at once. "
        )

    def remove_groups(self) -> None:
        """Remove the groups of a server that is dead. Blocks."""
        if self.session is not None and not cgroups.here().remove(self.session.session_id):
            self.log.warning("%s: its control groups are still in use", self._log_name)
