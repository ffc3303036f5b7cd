"""The file of a backup: a tar with a manifest first, then its parts, each with size and sum.

Nothing is ever unpacked by a name that the file gives: a part is one of :data:`PARTS`, or refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dachub.model.problems import Conflict, NotFound

PartName = Literal[
    "database.dump", "outbox.sqlite", "jupyterhub.sqlite", "dachub.yaml", "secrets.json"
]
DATABASE: PartName = "database.dump"
OUTBOX: PartName = "outbox.sqlite"
HUB: PartName = "jupyterhub.sqlite"
CONFIG: PartName = "dachub.yaml"
SECRETS: PartName = "secrets.json"

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 100_000
BLOCK_BYTES = 1 << 20


class BackupDamaged(Conflict):
    """The file is not what was written."""

    code = "backup-damaged"


class Part(BaseModel):
    """One of the files inside."""

    name: PartName
    size_bytes: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """What a backup holds, and of what dachub."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    version: str
    schema_revision: str
    created_at: datetime
    parts: list[Part]

    @property
    def has_secrets(self) -> bool:
        """Whether the platform's secrets are inside."""
        return any(part.name == SECRETS for part in self.parts)


def describe(name: PartName, path: Path) -> Part:
    """A finished file as the manifest has it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(name=name, size_bytes=path.stat().st_size, sha256=digest)


def write(path: Path, manifest: Manifest, directory: Path) -> None:
    """Write the parts that lie in ``directory`` to a new file, mode 0600, on disk on return."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            head = manifest.model_dump_json(indent=1).encode()
            tar.addfile(_entry(MANIFEST, len(head), manifest), io.BytesIO(head))
            for part in manifest.parts:
                with (directory / part.name).open("rb") as content:
                    tar.addfile(_entry(part.name, part.size_bytes, manifest), content)
        out.flush()
        os.fsync(handle)


def read_manifest(path: Path) -> Manifest:
    """What a backup says that it holds.

    Raises
    ------
    NotFound
        If there is no such file.
    BackupDamaged
        If it is no backup of ours.
    """
    with _opened(path) as tar:
        return _manifest(path, tar)


def check(path: Path) -> Manifest:
    """Read all of a backup and compare every sum.

    Raises
    ------
    NotFound
        If there is no such file.
    BackupDamaged
        If a part is damaged, missing, or not one of ours; says which.
    """
    with _opened(path) as tar:
        manifest = _manifest(path, tar)
        for part in manifest.parts:
            with _next_part(path, tar, part) as content:
                _require_sum(path, part, content)
        if tar.next() is not None:
            raise BackupDamaged(f"{path} holds more than its manifest says. Use another backup.")
    return manifest


@contextmanager
def part_of(path: Path, name: PartName) -> Iterator[IO[bytes]]:
    """The content of one part of a file that was checked."""
    with _opened(path) as tar:
        content = tar.extractfile(name)
        assert content is not None  # noqa: S101  a regular file, or the check had failed
        yield content


def _entry(name: str, size_bytes: int, manifest: Manifest) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = 0o600
    entry.mtime = int(manifest.created_at.timestamp())
    return entry


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield tar
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}. See what there is: dachub backup list") from None
    except tarfile.TarError as error:
        raise BackupDamaged(f"{path} is no whole backup ({error}). Use another one.") from error


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    entry = tar.next()
    if entry is None or entry.name != MANIFEST or not entry.isreg():
        raise BackupDamaged(f"{path} is no backup of dachub: it does not begin with {MANIFEST}.")
    content = tar.extractfile(entry)
    assert content is not None  # noqa: S101  it is a regular file
    try:
        manifest = Manifest.model_validate_json(content.read(MANIFEST_BYTES_MAX))
    except ValidationError as error:
        raise BackupDamaged(
            f"{MANIFEST} in {path} is damaged, or of a dachub that writes another format "
            f"({error.error_count()} faults). Use another backup, or that dachub."
        ) from error
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or DATABASE not in names:
        raise BackupDamaged(f"{MANIFEST} in {path} names a part twice, or no database.")
    return manifest


@contextmanager
def _next_part(path: Path, tar: tarfile.TarFile, part: Part) -> Iterator[IO[bytes]]:
    try:
        entry = tar.next()
    except tarfile.TarError as error:
        raise BackupDamaged(
            f"The part {part.name} of {path} is damaged ({error}). Use another backup."
        ) from error
    if entry is None or entry.name != part.name or not entry.isreg():
        raise BackupDamaged(
            f"The part {part.name} of {path} is missing, or something else is in its place. "
            "Use another backup."
        )
    content = tar.extractfile(entry)
    assert content is not None  # noqa: S101  it is a regular file
    with content:
        yield content


def _require_sum(path: Path, part: Part, content: IO[bytes]) -> None:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
            size_bytes += len(block)
    except tarfile.TarError:
        pass  # it ends too early: told by its size
    if (size_bytes, digest.hexdigest()) != (part.size_bytes, part.sha256):
        raise BackupDamaged(
            f"The part {part.name} of {path} is damaged: its sum is not that of the manifest. "
            "Use another backup."
        )
