"""Writes the files of an export: whole ones or none."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dachub.model.exports import ExportFile
from dachub.reports.models import OutputExists, OutputFailed

PARTIAL = ".partial"
"""Where files are until they are whole: apart, since consumers take whatever lies in theirs."""
MODE = 0o640


def write_file(path: Path, content: bytes) -> None:
    """Write one file, or replace it, as a whole.

    Raises
    ------
    OutputFailed
    """
    with (
        _with_words(path.parent),
        _apart(path.parent, [path.name]) as apart,
        _written(apart / path.name) as file,
    ):
        file.write(content)


async def write_files(
    directory: Path, files: Sequence[ExportFile], content: Callable[[str], AsyncIterator[bytes]]
) -> None:
    """Put ``files`` into ``directory``, which is made if need be; ``content`` is asked by name.

    All are written, and on disk, before the first appears under its name. One that is there already
    with this very content was written before we were killed.

    Raises
    ------
    OutputExists
        If there is another file of such a name.
    OutputFailed
        If the directory cannot take them; what is not whole is removed.
    """
    with _with_words(directory):
        missing = [file.name for file in files if not _is_there(directory, file)]
        if not missing:
            return
        with _apart(directory, missing) as apart:
            for name in missing:
                with _written(apart / name) as out:
                    async for part in content(name):
                        out.write(part)


@contextmanager
def _with_words(directory: Path) -> Iterator[None]:
    """Say of a directory that cannot take the files, why."""
    try:
        yield
    except OSError as error:
        raise OutputFailed(
            f"{directory} cannot take the files: {_reason(error)}. Nothing half-written was left. "
            "Put that right and repeat the command."
        ) from error


@contextmanager
def _apart(directory: Path, names: Sequence[str]) -> Iterator[Path]:
    """Where files of these names grow; at the end all go to ``directory``, after an error none."""
    apart = directory / PARTIAL
    apart.mkdir(parents=True, exist_ok=True)
    try:
        yield apart
        for name in names:
            (apart / name).rename(directory / name)
    finally:
        for name in names:
            (apart / name).unlink(missing_ok=True)
        apart.rmdir()
    _sync(directory)


def _is_there(directory: Path, file: ExportFile) -> bool:
    try:
        with (directory / file.name).open("rb") as found:
            sha256 = hashlib.file_digest(found, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    if sha256 != file.sha256:
        raise OutputExists(
            f"{directory / file.name} exists with another content. Nothing was written: give "
            "another name, or a directory, in which every export has a name of its own."
        )
    return True


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A new file, on disk at the end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "wb") as file:
        yield file
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
