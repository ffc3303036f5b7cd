"""The walk beside ``du``, in turns on the same million files: time, processor, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.report import Row
from dachub.model.storage import StorageArea
from dachub.storage.models import ReportKind, SamplingJob, SamplingReport

FILES = int(os.environ.get("DACHUB_BENCH_FILES", "1000000"))
DIRECTORY = os.environ.get("DACHUB_BENCH_DIRECTORY", "/var/tmp")
REPEATS = 3
COLD_REPEATS = 2
POLL_SECONDS = 0.05
EVERY_TENTH_BYTES = 5000
AT_OUR_PRIORITY = (
    # As du runs: on a busy machine the low priority of the real process would decide everything.
    "import sys; from dachub.storage import models, sample; "
    "sample.run(models.SamplingJob.model_validate_json(sys.stdin.buffer.read()))"
)
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Run:
    """What one process, with its own children, cost."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    out: str


def run() -> list[Row]:
    """A million files in ten thousand directories, then in one."""
    return [
        *_compared("files in directories of 100", 100),
        *_compared("files in one directory", FILES),
    ]


def _compared(shape: str, files_in_directory: int) -> list[Row]:
    with _tree(files_in_directory) as (homes, place, state):
        job = SamplingJob(
            areas={StorageArea.HOME: homes}, state=state, method="walk",
            processes=os.cpu_count() or 1, files_per_second=10**9, turn_seconds=10**6,
        ).model_dump_json()  # fmt: skip
        walk = [sys.executable, "-c", AT_OUR_PRIORITY]
        du = ["du", "-s", "-B1", str(place)]
        assert _allocated(_ran(walk, job).out) == int(_ran(du).out.split()[0])
        warm = [(_ran(walk, job), _ran(du)) for _ in range(REPEATS)]
        cold = [(_ran_cold(walk, job), _ran_cold(du)) for _ in range(COLD_REPEATS)]
    name, per_file = f"{FILES:,} {shape}", 1e6 / FILES
    rows = [
        Row("sampler", f"{name}: time, warm", "µs a file",
            per_file * median(ours.seconds for ours, _ in warm),
            per_file * median(theirs.seconds for _, theirs in warm), "half"),
        Row("sampler", f"{name}: processor, warm", "µs a file",
            per_file * median(ours.cpu_seconds for ours, _ in warm),
            per_file * median(theirs.cpu_seconds for _, theirs in warm)),
        Row("sampler", f"{name}: peak memory of all processes", "MiB",
            max(ours.peak_bytes for ours, _ in warm) / 2**20,
            max(theirs.peak_bytes for _, theirs in warm) / 2**20, "flat"),
    ]  # fmt: skip
    if os.access(DROP_CACHES, os.W_OK):
        rows.append(
            Row("sampler", f"{name}: time, nothing cached", "µs a file",
                per_file * median(ours.seconds for ours, _ in cold),
                per_file * median(theirs.seconds for _, theirs in cold), "half")
        )  # fmt: skip
    return rows


@contextmanager
def _tree(files_in_directory: int) -> Iterator[tuple[Path, Path, Path]]:
    """(directory of homes, the home, a directory for state); removed afterwards."""
    base = Path(tempfile.mkdtemp(prefix="dachub-bench-", dir=DIRECTORY))
    place = base / "homes" / "ada"
    try:
        for number in range(0, FILES, files_in_directory):
            folder = place / f"{number // 100_000:03}" / f"{number:07}"
            folder.mkdir(parents=True)
            handle = os.open(folder, os.O_RDONLY)
            for index in range(files_in_directory):
                file = os.open(f"file-{index:07}.dat", os.O_CREAT | os.O_WRONLY, dir_fd=handle)
                if index % 10 == 0:
                    os.write(file, b"x" * EVERY_TENTH_BYTES)
                os.close(file)
            os.close(handle)
        os.sync()
        yield base / "homes", place, base / "state"
    finally:
        shutil.rmtree(base)


def _ran_cold(command: Sequence[str], stdin: str = "") -> Run:
    if os.access(DROP_CACHES, os.W_OK):
        os.sync()
        DROP_CACHES.write_text("3")
    return _ran(command, stdin)


def _ran(command: Sequence[str], stdin: str = "") -> Run:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(stdin.encode())
        given.seek(0)
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=given, stdout=out)
        watched, peak_bytes = psutil.Process(process.pid), 0
        while True:
            peak_bytes = max(peak_bytes, _memory_bytes(watched))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        out.seek(0)
        return Run(seconds, used.ru_utime + used.ru_stime, peak_bytes, out.read().decode())


def _memory_bytes(process: psutil.Process) -> int:
    """Of a process and its children; what they share counts once."""
    try:
        family = [process, *process.children(recursive=True)]
        return sum(each.memory_full_info().pss for each in family)
    except psutil.Error:
        return 0


def _allocated(lines: str) -> int:
    for line in lines.splitlines():
        report = SamplingReport.model_validate_json(line)
        if report.kind is ReportKind.MEASURED and report.measurement is not None:
            return report.measurement.allocated_bytes
    raise AssertionError(lines)
