"""What ``from dachub import DAC`` costs a notebook's kernel, beyond an empty interpreter."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.report import Row

REPEATS = 15
PROGRAM = "import time; a = time.perf_counter(); {}; print(time.perf_counter() - a)"
IMPORT = "from dachub import DAC"
# All that the first call imports as well; pandas is the notebook's own.
FIRST_CALL = f"{IMPORT}; import httpx, dachub.client.records, dachub.client.frames"


def _seconds(statements: str) -> float:
    def once() -> float:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(statements)],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(run.stdout)

    once()  # warms the disk cache and the byte code
    return median(once() for _ in range(REPEATS))


def run() -> list[Row]:
    """Median of several fresh interpreters."""
    return [
        Row("client", IMPORT, "s", _seconds(IMPORT), goal="< 0.3"),
        Row("client", "and all that the first call imports", "s", _seconds(FIRST_CALL)),
    ]
