"""What is mounted where, as the kernel tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount: where, of which type, from what, with which options of the file system."""

    point: bytes
    kind: str
    source: str
    options: frozenset[str]


def mounts(table: bytes | None = None) -> list[Mount]:
    """All mounts, those mounted later last."""
    found = []
    for line in (MOUNTS.read_bytes() if table is None else table).splitlines():
        before, _, after = line.partition(b" - ")
        kind, source, options = after.decode(errors="replace").split(" ", 2)
        point = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), before.split()[4])
        found.append(Mount(point, kind, source, frozenset(options.split(","))))
    return found


def mount_of(path: bytes, table: bytes | None = None) -> Mount | None:
    """The mount that an absolute ``path`` without symbolic links lies on."""
    found: Mount | None = None
    for mount in mounts(table):
        inside = path == mount.point or path.startswith(mount.point.rstrip(b"/") + b"/")
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def mounted_below(path: bytes) -> frozenset[bytes]:
    """Paths below ``path``, relative to it, on which something is mounted."""
    prefix = path.rstrip(b"/") + b"/"
    return frozenset(
        mount.point[len(prefix) :]
        for mount in mounts()
        if mount.point.startswith(prefix) and mount.point != path
    )
