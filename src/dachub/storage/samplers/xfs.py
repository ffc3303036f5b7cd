"""XFS counts, and limits, what belongs to a project; each place becomes a project of its own.

Everything goes through ``xfs_quota`` of xfsprogs. A place's project number stands on its directory,
where the file system keeps it; what is made below inherits it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from dachub.model.storage import StorageMethod
from dachub.storage.models import Allowed, Measurement
from dachub.storage.samplers import SamplerFailed
from dachub.storage.samplers.mounts import Mount, mount_of

OWN_PROJECTS = range(1_700_000_000, 1_800_000_000)
"""Numbers of our projects; those of others are left alone, and their directories are walked."""
REPORT_BLOCK_BYTES = 1024
COMMAND_SECONDS = 3600
"""Marking what is in a large place already takes long, once."""

_GET_ATTRIBUTES = 0x801C581F  # FS_IOC_FSGETXATTR, linux/fs.h
_ATTRIBUTES = struct.Struct("=IIIII8s")  # struct fsxattr: flags, extent size, extents, project, ...
_LINE = re.compile(
    r"#(?P<project>\d+)\s+(?P<blocks>\d+)\s+(?P<soft>\d+)\s+(?P<hard>\d+)\s+\d+\s+\[[^]]*\]"
    r"\s+(?P<files>\d+)\s+(?P<files_soft>\d+)\s+(?P<files_hard>\d+)\b"
)
Run = Callable[[Sequence[str]], str]


class XFS:
    """Reads and sets project quotas on mounts that account for them.

    Parameters
    ----------
    marked
        Directory with a file for each project whose place was marked to its end: a killed marking
        is repeated.
    """

    def __init__(self, marked: Path, run: Run | None = None) -> None:
        self._marked = marked
        self._run = run or _run
        self._reports: dict[bytes, dict[int, _Used]] = {}

    def measure(self, name: str, place: Path) -> Measurement:  # noqa: ARG002  the interface's
        """See :class:`dachub.storage.samplers.Sampler`."""
        mount = _mount(place)
        project = project_of(place)
        used = self._report(mount).get(project) if project in OWN_PROJECTS else None
        if used is None:
            raise SamplerFailed(f"{place}: the file system does not count it as a project of ours")
        size = used.blocks * REPORT_BLOCK_BYTES
        return Measurement(
            method=StorageMethod.XFS_QUOTA, bytes=size, allocated_bytes=size, files=used.files
        )

    def is_counted(self, place: Path) -> bool:
        """Whether the place is a project of ours, with all that is in it."""
        project = project_of(place)
        return project in OWN_PROJECTS and self._mark_of(project).exists()

    def enforce(self, place: Path, allowed: Allowed) -> bool:
        """Make the place a project if it is none, and set what it may hold.

        Returns
        -------
        bool
            ``False`` if it is somebody else's project, or has a blank in its path, which
            ``xfs_quota`` cannot be told: nothing was changed.

        Raises
        ------
        SamplerFailed
        """
        mount = _mount(place)
        project = project_of(place)
        if any(letter.isspace() for letter in str(place)):
            return False
        if project not in OWN_PROJECTS:
            if project != 0:
                return False
            project = self._free_project(mount, place)
        if not self._mark_of(project).exists():
            self._command(mount, f"project -s -p {place} {project}")
            if project_of(place) != project:  # xfs_quota tells some failures to nobody
                raise SamplerFailed(f"{place} could not be made project {project}")
            self._mark_of(project).touch()
            self._reports.pop(mount.point, None)
        # To the file system 0 is no limit: where nothing is allowed, that is the least there is.
        size = 0 if allowed.bytes is None else max(allowed.bytes, REPORT_BLOCK_BYTES)
        files = 0 if allowed.files is None else max(allowed.files, 1)
        used = self._report(mount).get(project)
        if used is None or used.limits != (-(-size // REPORT_BLOCK_BYTES), files):
            self._command(mount, f"limit -p bhard={size} ihard={files} {project}")
        return bool(size or files)

    def _free_project(self, mount: Mount, place: Path) -> int:
        taken = {project_of(each) for each in place.parent.iterdir() if each.is_dir()}
        taken |= self._report(mount).keys()
        return next(number for number in OWN_PROJECTS if number not in taken)

    def _mark_of(self, project: int) -> Path:
        return self._marked / f"xfs-project-{project}"

    def _report(self, mount: Mount) -> dict[int, _Used]:
        if mount.point not in self._reports:
            self._reports[mount.point] = parse_report(self._command(mount, "report -p -n -N -b -i"))
        return self._reports[mount.point]

    def _command(self, mount: Mount, command: str) -> str:
        try:
            return self._run(["xfs_quota", "-x", "-c", command, os.fsdecode(mount.point)])
        except subprocess.CalledProcessError as error:
            raise SamplerFailed(f"xfs_quota '{command}': {error.stderr.strip()[:300]}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise SamplerFailed(f"xfs_quota '{command}': {error}") from error


class _Used:
    """What a project uses and may use, in blocks of the report and files."""

    __slots__ = ("blocks", "files", "limits")

    def __init__(self, blocks: int, files: int, limits: tuple[int, int]) -> None:
        self.blocks = blocks
        self.files = files
        self.limits = limits


def parse_report(text: str) -> dict[int, _Used]:
    """What ``report -p -n -N -b -i`` prints, by project."""
    return {
        int(line["project"]): _Used(
            int(line["blocks"]), int(line["files"]), (int(line["hard"]), int(line["files_hard"]))
        )
        for line in _LINE.finditer(text)
    }


def is_accounted(mount: Mount | None) -> bool:
    """Whether a mount is an XFS that counts by project, and we have the means to ask it."""
    return (
        mount is not None
        and mount.kind == "xfs"
        and "prjquota" in mount.options
        and shutil.which("xfs_quota") is not None
    )


def project_of(place: Path) -> int:
    """Number of the project that a directory belongs to; 0: none."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = fcntl.ioctl(handle, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
        project: int = _ATTRIBUTES.unpack(found)[3]
    except OSError:  # a file system without projects
        return 0
    finally:
        os.close(handle)
    return project


def _mount(place: Path) -> Mount:
    mount = mount_of(os.fsencode(place.resolve()))
    if not is_accounted(mount) or mount is None:
        raise SamplerFailed(f"{place} is not on an XFS that is mounted with 'pquota'")
    return mount


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    return done.stdout
