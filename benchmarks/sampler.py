"""The walk beside ``du``, in turns on the same files: cached, cold, and of files far away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.far_files import KNOWN_SECONDS
from benchmarks.report import Row
from dachub.model.storage import StorageArea
from dachub.storage.models import ReportKind, SamplingJob, SamplingReport

FILES = int(os.environ.get("DACHUB_BENCH_FILES", "1000000"))
DIRECTORY = os.environ.get("DACHUB_BENCH_DIRECTORY")
IMAGES = "/var/tmp"
BYTES_PER_FILE, BYTES_BESIDE = 4096, 1 << 30
CACHED_REPEATS, COLD_REPEATS, FAR_REPEATS = 4, 2, 2
CACHED_PROCESSES, COLD_PROCESSES, FAR_PROCESSES = (1, 2, 4), (2, 4), (1, 2, 4, 8)
DEFAULT_PROCESSES = 4
FAR_DIRECTORIES, FAR_FILES, FAR_SECONDS = 40, 50, 0.002
MOUNT_SECONDS = 10.0
POLL_SECONDS = 0.02
EVERY_TENTH_BYTES = 5000
AT_OUR_PRIORITY = (
    # As du runs: on a busy machine the low priority of the real process would decide everything.
    "import sys; from dachub.storage import models, sample; "
    "sample.run(models.SamplingJob.model_validate_json(sys.stdin.buffer.read()))"
)


@dataclass(frozen=True)
class Run:
    """What one process, with its own children, cost."""

    seconds: float
    cpu_seconds: float
    out: str


@dataclass(frozen=True)
class Homes:
    """A directory of homes with one home in it, and what it holds.

    Attributes
    ----------
    device
        Mounted there if it is a file system of our own.
    """

    path: Path
    files: int
    device: str | None = None

    @property
    def home(self) -> Path:
        """The one home."""
        return self.path / "ada"

    def du(self) -> Run:
        """Let ``du`` measure it."""
        return _ran(["du", "-s", "-B1", str(self.home)])

    def walk(self, processes: int, ran: Callable[[Sequence[str], str], Run] | None = None) -> Run:
        """Let a process of ours measure it, as the service does."""
        with tempfile.TemporaryDirectory() as state:
            job = SamplingJob(
                areas={StorageArea.HOME: self.path}, state=Path(state), method="walk",
                processes=processes, files_per_second=10**9, turn_seconds=10**6,
            ).model_dump_json()  # fmt: skip
            return (ran or _ran)([sys.executable, "-c", AT_OUR_PRIORITY], job)

    def forget(self) -> None:
        """Let nothing of it be cached."""
        _do("umount", self.path)
        _do("mount", str(self.device), self.path)


def run() -> list[Row]:
    """A million files in ten thousand directories, then in one, then some far away."""
    rows = [Row("sampler", "load of the machine before", "", os.getloadavg()[0])]
    start_seconds = _start_seconds()
    rows.append(Row("sampler", "starting to measure, once a round", "s", start_seconds))
    for shape, files in (("directories of 100", 100), ("one directory", FILES)):
        with _tree(files) as homes:
            name = f"{FILES:,} files in {shape}"
            rows += _memory(name, homes)
            rows += _beside(f"{name}, cached", homes, start_seconds, CACHED_PROCESSES,
                            CACHED_REPEATS, lambda: None)  # fmt: skip
            if homes.device is not None:
                rows += _beside(f"{name}, cold", homes, start_seconds, COLD_PROCESSES,
                                COLD_REPEATS, homes.forget)  # fmt: skip
    with _far() as homes:
        if homes is not None:
            rows += _beside(
                f"{homes.files:,} files that are {1000 * FAR_SECONDS:.0f} ms away", homes,
                start_seconds, FAR_PROCESSES, FAR_REPEATS, lambda: time.sleep(KNOWN_SECONDS),
            )  # fmt: skip
    return rows


def _start_seconds() -> float:
    """How long measuring nothing takes."""
    with tempfile.TemporaryDirectory() as made:
        homes = Homes(Path(made), 1)
        homes.home.mkdir()
        homes.du()
        return min(homes.walk(1).seconds for _ in range(CACHED_REPEATS))


def _beside(
    name: str, homes: Homes, start_seconds: float, numbers: Sequence[int],
    repeats: int, before: Callable[[], None],
) -> list[Row]:  # fmt: skip
    """The best of each, of ``du`` and of the walk in several numbers of processes."""
    theirs: list[Run] = []
    ours: dict[int, list[Run]] = {number: [] for number in numbers}
    for _ in range(repeats):
        before()
        theirs.append(homes.du())
        for number, runs in ours.items():
            before()
            runs.append(homes.walk(number))
            assert _allocated(runs[-1].out) == int(theirs[-1].out.split()[0])
    per_file = 1e6 / homes.files
    du = min(each.seconds for each in theirs)
    rows = []
    for number, runs in ours.items():
        seconds = min(each.seconds for each in runs) - start_seconds
        goal = f"{du / seconds:.2f} x du's rate; 2: {'met' if 2 * seconds <= du else '**missed**'}"
        what = f"{name}: time, {number} process{'es' if number > 1 else ''}"
        rows.append(Row("sampler", what, "µs a file", per_file * seconds, per_file * du, goal))
    rows.append(
        Row("sampler", f"{name}: processor", "µs a file",
            per_file * (min(each.cpu_seconds for each in ours[numbers[0]]) - start_seconds),
            per_file * min(each.cpu_seconds for each in theirs))
    )  # fmt: skip
    return rows


def _memory(name: str, homes: Homes) -> list[Row]:
    """Peak memory; measured apart, because looking at it slows what is looked at."""
    peaks = []

    def watched(command: Sequence[str], stdin: str = "") -> Run:
        peak_bytes = 0

        def look(process: psutil.Process) -> None:
            nonlocal peak_bytes
            peak_bytes = max(peak_bytes, _memory_bytes(process))

        done = _ran(command, stdin, look)
        peaks.append(peak_bytes / 2**20)
        return done

    homes.walk(DEFAULT_PROCESSES, watched)
    watched(["du", "-s", str(homes.home)])
    what = f"{name}: peak memory of all processes"
    return [Row("sampler", what, "MiB", peaks[0], peaks[1], "flat")]


@contextmanager
def _tree(files_in_directory: int) -> Iterator[Homes]:
    """A home of ``FILES`` files; removed afterwards."""
    with _files_of_their_own() as homes:
        for number in range(0, FILES, files_in_directory):
            folder = homes.home / f"{number // 100_000:03}" / f"{number:07}"
            folder.mkdir(parents=True)
            handle = os.open(folder, os.O_RDONLY)
            for index in range(files_in_directory):
                file = os.open(f"file-{index:07}.dat", os.O_CREAT | os.O_WRONLY, dir_fd=handle)
                if index % 10 == 0:
                    os.write(file, b"x" * EVERY_TENTH_BYTES)
                os.close(file)
            os.close(handle)
        os.sync()
        yield homes


@contextmanager
def _files_of_their_own() -> Iterator[Homes]:
    """A directory; as root on a file system in a file: forgotten, and removed, at once."""
    with tempfile.TemporaryDirectory(prefix="dachub-bench-", dir=DIRECTORY or IMAGES) as made:
        path, image = Path(made) / "homes", Path(made) / "image"
        path.mkdir()
        if DIRECTORY is not None or os.geteuid() != 0:
            yield Homes(path, FILES)
            return
        with image.open("wb") as file:
            file.truncate(FILES * BYTES_PER_FILE + BYTES_BESIDE)
        _do("mkfs.ext4", "-q", "-F", "-N", str(FILES + FILES // 20 + 1000),
            "-E", "lazy_itable_init=0,lazy_journal_init=0", image)  # fmt: skip
        device = _do("losetup", "--find", "--show", "--direct-io=on", image)
        try:
            _do("mount", device, path)
            yield Homes(path, FILES, device)
        finally:
            with suppress(subprocess.CalledProcessError):
                _do("umount", path)
            _do("losetup", "--detach", device)


@contextmanager
def _far() -> Iterator[Homes | None]:
    """A home as of a file server; ``None`` where it cannot be mounted."""
    with tempfile.TemporaryDirectory() as made:
        homes = Homes(Path(made), FAR_DIRECTORIES * FAR_FILES)
        homes.home.mkdir()
        command = [sys.executable, "-m", "benchmarks.far_files", str(homes.home)]
        for option, value in (
            ("directories", FAR_DIRECTORIES), ("files", FAR_FILES), ("seconds", FAR_SECONDS),
        ):  # fmt: skip
            command += [f"--{option}", str(value)]
        with subprocess.Popen(command) as server:
            try:
                yield homes if _is_mounted(homes.home, server) else None
            finally:
                with suppress(subprocess.CalledProcessError):
                    _do("umount", homes.home)


def _is_mounted(path: Path, server: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + MOUNT_SECONDS
    while server.poll() is None and time.monotonic() < until:
        if path.is_mount():
            return True
        time.sleep(POLL_SECONDS)
    return False


def _do(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _ran(
    command: Sequence[str], stdin: str = "", look: Callable[[psutil.Process], None] | None = None
) -> Run:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(stdin.encode())
        given.seek(0)
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=given, stdout=out)
        watched = psutil.Process(process.pid)
        while look is not None and watched.status() != psutil.STATUS_ZOMBIE:
            look(watched)
            time.sleep(POLL_SECONDS)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        out.seek(0)
        return Run(seconds, used.ru_utime + used.ru_stime, out.read().decode())


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
