"""What a killed hub left on the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from dachub.hub.clock import now
from dachub.hub.machine import cgroups, scratch
from dachub.hub.machine.processes import end_session_processes


class ProcessLeftovers:
    """Finds processes by the session in their environment."""

    def __init__(self, scratch_directories: Sequence[Path]) -> None:
        self._scratch_directories = scratch_directories

    async def end(self, session_id: UUID) -> datetime | None:
        """End the processes of a session; when it ended, or ``None`` where there were none."""
        killed = await asyncio.to_thread(end_session_processes, session_id)
        await asyncio.to_thread(scratch.remove, session_id, self._scratch_directories)
        return now() if killed else None

    async def sweep(self) -> None:
        """Remove control groups in which nothing runs."""
        await asyncio.to_thread(cgroups.here().remove_empty)
