"""Who holds a data directory: one at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from dachub.local.findings import StartRefused
from dachub.local.layout import Layout


class AlreadyRunning(StartRefused):
    """Another ``dachub up`` or restore works on the same data directory."""

    code = "already-running"


@contextmanager
def possessed(layout: Layout) -> Iterator[None]:
    """Hold the data directory; the kernel lets go of it however we end.

    Raises
    ------
    AlreadyRunning
    """
    with layout.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise AlreadyRunning(
                f"dachub already runs on {layout.data} (process {pid}). "
                "Stop it first, or choose another directory with --data."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
