"""Log files that end: each day, when they are large, and after their term."""

from __future__ import annotations

import os
import time
from io import TextIOWrapper
from logging import LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

DAY_SECONDS = 86_400
FILES_MAX = 400
"""More than a year of days."""


class DailyFile(RotatingFileHandler):
    """A log file, mode 0600, that begins anew each day (UTC) and when it is large.

    Parameters
    ----------
    file_bytes, all_bytes
        Size at which the file begins anew, and of all files together: the oldest go.
    days
        After which older files are deleted; ``None`` keeps them as long as there is room.

    Raises
    ------
    OSError
        If the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, file_bytes: int, all_bytes: int, days: int | None) -> None:
        super().__init__(path, maxBytes=file_bytes, backupCount=FILES_MAX, encoding="utf-8")
        self._all_bytes = all_bytes
        self._days = days
        self._day = int(path.stat().st_mtime // DAY_SECONDS)

    def _open(self) -> TextIOWrapper:
        os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY, 0o600))
        Path(self.baseFilename).chmod(0o600)
        return super()._open()

    def shouldRollover(self, record: LogRecord) -> bool:  # noqa: N802  the standard library's name
        """Whether the file is from another day, or would become too large."""
        today = int(time.time() // DAY_SECONDS)
        return today != self._day or bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802  the standard library's name
        """Begin anew, and delete what is too old or too much."""
        super().doRollover()
        self._day = int(time.time() // DAY_SECONDS)
        room = self._all_bytes - self.maxBytes
        for number in range(1, FILES_MAX + 1):
            older = Path(f"{self.baseFilename}.{number}")
            if not older.exists():
                return
            found = older.stat()
            room -= found.st_size
            if room < 0 or is_past(found.st_mtime, self._days):
                older.unlink()


def is_past(written_at: float, days: int | None) -> bool:
    """Whether something last written at a moment (Unix time) is older than so many days."""
    return days is not None and time.time() - written_at > days * DAY_SECONDS
