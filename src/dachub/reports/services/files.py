"""Writes the files of an export: whole ones or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from dachub.reports.models import DraftFile, OutputExists, OutputFailed, digest

PARTIAL = ".partial"
"""Where files are until they are whole: apart, since consumers take whatever lies in theirs."""
MODE = 0o640


def write_file(path: Path, content: bytes) -> None:
    """Write one file, or replace it, as a whole.

    Raises
    ------
    OutputFailed
    """
    write_files(path.parent, [DraftFile(path.name, content)], replace=True)


def write_files(directory: Path, files: Sequence[DraftFile], *, replace: bool = False) -> None:
    """Put ``files`` into ``directory``, which is made if need be.

    All are written, and on disk, before the first appears under its name. One that is there already
    with this very content was written before we were killed.

    Raises
    ------
    OutputExists
        If there is another file of such a name, unless it is to be replaced.
    OutputFailed
        If the directory cannot take them; what is not whole is removed.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if replace or not _is_there(directory, file)]
        if not missing:
            return
        partial = directory / PARTIAL
        partial.mkdir(exist_ok=True)
        try:
            for file in missing:
                _write(partial / file.name, file.content)
            for file in missing:
                (partial / file.name).rename(directory / file.name)
        finally:
            for file in missing:
                (partial / file.name).unlink(missing_ok=True)
            partial.rmdir()
        _sync(directory)
    except OSError as error:
        raise OutputFailed(
            f"{directory} cannot take the files: {_reason(error)}. Nothing half-written was left. "
            "Put that right and repeat the command."
        ) from error


def _is_there(directory: Path, file: DraftFile) -> bool:
    try:
        found = (directory / file.name).read_bytes()
    except FileNotFoundError:
        return False
    if digest(found) != file.sha256:
        raise OutputExists(
            f"{directory / file.name} exists with another content. Nothing was written: give "
            "another name, or a directory, in which every export has a name of its own."
        )
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return (error.strerror or str(error)).lower()
