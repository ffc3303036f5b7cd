"""The walk: parts of a tree in several processes, resumed where it was left."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dachub.model.storage import Folder, StorageMethod
from dachub.storage.models import Measurement
from dachub.storage.samplers import SamplerFailed, spoken_path
from dachub.storage.samplers.cursor import Cursor, cursor_path
from dachub.storage.samplers.mounts import mounted_below
from dachub.storage.samplers.walk import BLOCK_BYTES, Budget, Left, Part, walk_part

LARGEST = 20
FIRST_PART_FILES = 5000
FIRST_PART_SECONDS = 0.2
"""Places that take less are not worth a second process."""
PART_FILES = 50_000
PART_SECONDS = 0.5
SAVE_EVERY_SECONDS = 10.0
SAVE_SHARE = 20
"""Saving takes at most one part in so many of the time."""

_PR_SET_PDEATHSIG = 1


class Walk:
    """Looks at every file, in up to ``processes`` processes; gently and in turns.

    Parameters
    ----------
    state
        Directory for what is remembered of unfinished walks.
    turn_seconds
        For how long a place may be walked before others have their turn.
    advanced
        Called with the number of files found in a place so far, each time there are more.
    """

    def __init__(
        self,
        state: Path,
        *,
        processes: int,
        files_per_second: float,
        turn_seconds: float,
        advanced: Callable[[int], None] = lambda _files: None,
    ) -> None:
        self._state = state
        self._processes = processes
        self._files_per_second = files_per_second
        self._turn_seconds = turn_seconds
        self._advanced = advanced
        self._pool: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """End the other processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def measure(self, name: str, place: Path) -> Measurement | None:
        """See :class:`dachub.storage.samplers.Sampler`."""
        remembered = cursor_path(self._state, name)
        try:
            own = place.stat(follow_symlinks=False)
            cursor = Cursor.load(remembered, (own.st_dev, own.st_ino))
            finished = self._walk(os.fsencode(place), cursor, remembered)
        except BrokenProcessPool as error:
            self.close()
            raise SamplerFailed(f"a process of the walk of {place} died") from error
        except OSError as error:
            raise SamplerFailed(f"{place}: {error.strerror}") from error
        if not finished:
            return None
        remembered.unlink(missing_ok=True)
        return Measurement(
            method=StorageMethod.WALK,
            bytes=cursor.size,
            allocated_bytes=cursor.blocks * BLOCK_BYTES,
            files=cursor.files,
            unreadable=cursor.unreadable,
            largest=[
                Folder(path=spoken_path(path), allocated_bytes=blocks * BLOCK_BYTES, files=files)
                for path, blocks, files in cursor.folders.largest(LARGEST)
            ],
        )

    def forget(self, name: str) -> None:
        """Forget an unfinished walk of a place that is measured otherwise by now."""
        cursor_path(self._state, name).unlink(missing_ok=True)

    def _walk(self, root: bytes, cursor: Cursor, remembered: Path) -> bool:
        """Walk until all is done, or the turn is over; then the cursor is on disk."""
        skip = mounted_below(root)
        budget = Budget(FIRST_PART_FILES, FIRST_PART_SECONDS, self._files_per_second)
        cursor.add(walk_part(root, cursor.take(), skip, budget))
        budget = Budget(PART_FILES, PART_SECONDS, self._files_per_second / self._processes)
        turn_ends = time.monotonic() + self._turn_seconds
        save_at = time.monotonic() + SAVE_EVERY_SECONDS
        running: dict[Future[Part], list[Left]] = {}
        while running or cursor.left:
            is_over = time.monotonic() >= turn_ends
            while cursor.left and len(running) < self._processes and not is_over:
                taken = cursor.take(self._processes)
                running[self._start(root, taken, skip, budget)] = taken
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                cursor.add(future.result())
                del running[future]
            self._advanced(cursor.files)
            if time.monotonic() >= save_at:
                started = time.monotonic()
                cursor.save(remembered, [left for taken in running.values() for left in taken])
                took_seconds = time.monotonic() - started
                save_at = time.monotonic() + max(SAVE_EVERY_SECONDS, SAVE_SHARE * took_seconds)
        if cursor.left:
            cursor.save(remembered, [])
        return not cursor.left

    def _start(
        self, root: bytes, left: list[Left], skip: frozenset[bytes], budget: Budget
    ) -> Future[Part]:
        if self._pool is None:
            # Forked while there is but one thread: they are there at once, and cost no memory.
            self._pool = ProcessPoolExecutor(
                self._processes,
                mp_context=multiprocessing.get_context("fork"),
                initializer=_end_with_parent,
            )
        return self._pool.submit(walk_part, root, left, skip, budget)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
