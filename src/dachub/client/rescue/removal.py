"""Deletes one file or folder below a directory, and nothing that links lead to."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path


class NotRemoved(Exception):
    """It is still there, wholly or in part; the message says why."""


def remove(root: Path, path: str) -> None:
    """Delete ``path``, which counts from ``root``, for good: a trash takes room as well.

    Every folder on the way must be one itself, not a link, and on the file system of ``root``.

    Raises
    ------
    NotRemoved
    """
    *folders, name = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in (*folders, name)):
        raise NotRemoved("This is no path below your home.")
    try:
        _remove(root, folders, name)
    except OSError as error:
        raise NotRemoved(f"{path}: {error.strerror}.") from error


def _remove(root: Path, folders: Sequence[str], name: str) -> None:
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        device = os.fstat(at).st_dev
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        found = os.lstat(name, dir_fd=at)
        if {found.st_dev, os.fstat(at).st_dev} != {device}:
            raise NotRemoved("It lies on another file system; delete it in a terminal.")
        if stat.S_ISDIR(found.st_mode):
            _remove_folder(at, name)
        else:
            os.unlink(name, dir_fd=at)
    finally:
        os.close(at)


def _remove_folder(at: int, name: str) -> None:
    """By the system's own program: it follows no links, and no depth stops it."""
    done = subprocess.run(
        ["rm", "-rf", "--one-file-system", "--", f"./{name}"],
        cwd=f"/proc/self/fd/{at}",
        capture_output=True,
        check=False,
    )
    if done.returncode:
        first = done.stderr.decode(errors="replace").splitlines()[:1]
        raise NotRemoved(f"Not all could be deleted. {first[0] if first else ''}")
