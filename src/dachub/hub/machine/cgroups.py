"""Control groups: where the kernel lets us, each server gets no more than its size.

Version 1: below the group that the hub runs in. Version 2: in the group ``dachub-servers.service``
beside the hub's, which a systemd unit has delegated to us. The hub's own group will not do there:
a group that hands controllers on may hold no process, and systemd could not start the platform
again in it while servers go on. What limits apply to the hub's group, apply to servers as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from uuid import UUID

PROC = Path("/proc")
DELEGATED = "dachub-servers.service"
PREFIX = "dachub-session-"
CONTROLLERS = ("cpu", "memory")
PERIOD_US = 100_000
QUOTA_US_MIN = 1000
"""The kernel takes no smaller one."""


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """The trees in which servers' groups are made."""

    parents: Mapping[str, Path] = field(default_factory=dict)
    """By controller; what is not in it, is not enforced."""
    version: int = 1

    def admit(self, session_id: UUID, pid: int, milli_cores: int, memory_bytes: int) -> list[str]:
        """Put a process that has not begun its work into limited groups; what went wrong."""
        problems = []
        for controller, directory in self._groups(session_id):
            try:
                if self.version == 2:
                    (directory.parent / "cgroup.subtree_control").write_text(f"+{controller}")
                directory.mkdir(exist_ok=True)
                for name, value in self._limits(controller, milli_cores, memory_bytes).items():
                    # Kernels without swap accounting have no file for it.
                    if "sw" not in name or (directory / name).exists():
                        (directory / name).write_text(value)
                (directory / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                problems.append(f"{controller} ({error.strerror}: {error.filename})")
        return problems

    def processes(self, session_id: UUID) -> Iterator[int]:
        """Pids of all that a server started, also of what hides its environment."""
        for directory in {directory for _, directory in self._groups(session_id)}:
            with suppress(OSError):
                yield from map(int, (directory / "cgroup.procs").read_text().split())

    def kills(self, session_id: UUID) -> int:
        """How many processes of a server the kernel ended because there was no memory left."""
        directory = dict(self._groups(session_id)).get("memory")
        if directory is not None:
            name = "memory.oom_control" if self.version == 1 else "memory.events"
            with suppress(OSError):
                lines = (directory / name).read_text().splitlines()
                return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        return 0

    def remove(self, session_id: UUID, patience_seconds: float = 2.0) -> bool:
        """Remove the groups of a server that has ended; whether they are gone. Blocks."""
        deadline = time.monotonic() + patience_seconds
        while left := [one for _, one in self._groups(session_id) if not _removed(one)]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05 * len(left))  # its last processes are still on their way out
        return True

    def remove_empty(self) -> None:
        """Remove what hubs that were killed left behind; the kernel keeps groups in use."""
        for parent in set(self.parents.values()):
            for directory in parent.glob(f"{PREFIX}*"):
                _removed(directory)

    def enforcement(self) -> list[str]:
        """What of a size is enforced here and what not, a sentence each."""
        return [
            "Cores are enforced: a server gets no more computing time than its size has."
            if "cpu" in self.parents
            else "Cores are accounted, not enforced: numerical libraries are told to use no more "
            "threads than the size has cores, but a program may start more.",
            "Memory is enforced: a program that needs more than its server's size is ended."
            if "memory" in self.parents
            else "Memory is accounted, not enforced: a server may use more than its size.",
            "GPUs are accounted, not enforced; disk space and network are not limited.",
        ]

    def _groups(self, session_id: UUID) -> list[tuple[str, Path]]:
        return [(name, at / f"{PREFIX}{session_id}") for name, at in self.parents.items()]

    def _limits(self, controller: str, milli_cores: int, memory_bytes: int) -> dict[str, str]:
        quota_us = max(QUOTA_US_MIN, milli_cores * PERIOD_US // 1000)
        memory = str(memory_bytes)
        if controller == "cpu":
            if self.version == 1:
                return {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
            return {"cpu.max": f"{quota_us} {PERIOD_US}"}
        if self.version == 1:  # the second is of memory and swap together
            return {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory}
        return {"memory.max": memory, "memory.swap.max": "0"}


def find(pid: int | None = None, proc: Path = PROC) -> ControlGroups:
    """Where the hub with this pid (this process without one) may make groups for servers."""
    try:
        own = [line.split(":", 2) for line in _lines(proc / str(pid or "self") / "cgroup")]
        mounts = [_mount(line) for line in _lines(proc / "self/mountinfo") if " - cgroup" in line]
    except OSError:
        return ControlGroups()
    first: dict[str, Path] = {}
    second: dict[str, Path] = {}
    for kind, root, point, options in mounts:
        for _, controllers, path in own:
            if not PurePosixPath(path).is_relative_to(root) or ".." in path:
                continue  # outside of what is mounted here
            group = point / PurePosixPath(path).relative_to(root)
            if kind == "cgroup2" and not controllers:
                delegated = group.parent / DELEGATED
                with suppress(OSError):
                    offered = (delegated / "cgroup.controllers").read_text().split()
                    if not (delegated / "cgroup.procs").read_text().split():
                        second = _writable(dict.fromkeys(offered, delegated))
            elif kind == "cgroup":
                names = set(controllers.split(",")) & set(options)
                first |= _writable(dict.fromkeys(names, group))
    return ControlGroups(first, 1) if first else ControlGroups(second, 2)


@cache
def here() -> ControlGroups:
    """Where this process may make groups; looked up once, for every start would wait for it."""
    return find()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _mount(line: str) -> tuple[str, str, Path, list[str]]:
    """Kind, root, place and options of a line of ``mountinfo``."""
    before, _, after = line.partition(" - ")
    fields, (kind, _, options) = before.split(), after.split()
    return kind, fields[3], Path(fields[4]), options.split(",")


def _writable(groups: dict[str, Path]) -> dict[str, Path]:
    """Those where we may make groups; root may not either where it is mounted read-only."""
    return {
        controller: group
        for controller in CONTROLLERS
        if (group := groups.get(controller)) is not None and os.access(group, os.W_OK | os.X_OK)
    }


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
