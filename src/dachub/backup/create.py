"""Making a backup: beside its final place, renamed when it is whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from dachub import __version__
from dachub.backup import archive, database, sqlite
from dachub.backup.archive import CONFIG, DATABASE, HUB, OUTBOX, SECRETS, Manifest, PartName
from dachub.infra.files import write_private
from dachub.local.layout import SECRETS as SECRET_NAMES
from dachub.local.layout import Layout
from dachub.model.problems import Conflict, Unavailable

PATTERN = "dachub-*.tar"
UNFINISHED = ".unfinished"
OF_THE_CLUSTER = "database-superuser-password"
"""Belongs to the embedded PostgreSQL's own files, which are not in a backup."""


class BackupRunning(Conflict):
    """Two at once in one directory."""

    code = "backup-running"


def create(
    layout: Layout,
    url: str,
    directory: Path,
    now: datetime,
    *,
    with_secrets: bool = True,
    keep: int | None = None,
) -> Path:
    """Back up the platform of ``layout`` to a new file in ``directory``.

    Parameters
    ----------
    url
        Of the service's database.
    keep
        How many backups to leave in ``directory``, this one included; all where not given.

    Raises
    ------
    BackupRunning
        If another is being made there.
    Unavailable
        If a part cannot be read, or there is no room; what was there is untouched.
    """
    final = directory / f"dachub-{now:%Y%m%dT%H%M%SZ}.tar"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(directory):
            if final.exists():
                raise Conflict(f"{final} was made this very second. Try again.")
            work = directory / UNFINISHED
            shutil.rmtree(work, ignore_errors=True)  # of one that was killed
            work.mkdir(mode=0o700)
            try:
                _make(layout, url, work, final, now, with_secrets=with_secrets)
            finally:
                shutil.rmtree(work, ignore_errors=True)
            if keep is not None:
                for old in [path for path in backups(directory) if path != final][keep - 1 :]:
                    old.unlink()
    except OSError as error:
        raise Unavailable(
            f"No backup was made in {directory}: {error.strerror or error}. "
            "Backups that were there are untouched."
        ) from error
    return final


def backups(directory: Path) -> list[Path]:
    """The backups in a directory, newest first."""
    return sorted(directory.glob(PATTERN), reverse=True)


def _make(
    layout: Layout, url: str, work: Path, final: Path, now: datetime, *, with_secrets: bool
) -> None:
    names: list[PartName] = []
    # The hub's before the database: a letter that is delivered meanwhile is then in both, and
    # counts once. The other way round it would be in neither.
    for name, source in ((OUTBOX, layout.outbox), (HUB, layout.hub_database)):
        if source.exists():
            sqlite.copy(source, work / name)
            names.append(name)
    if layout.is_borrowed:
        database.await_answer(url)
    revision = database.dump(url, work / DATABASE)
    names.append(DATABASE)
    write_private(work / CONFIG, layout.config.read_bytes())
    names.append(CONFIG)
    if with_secrets and layout.secrets.is_dir():
        kept = {
            name: layout.secret(name)
            for name in SECRET_NAMES
            if name != OF_THE_CLUSTER and (layout.secrets / name).exists()
        }
        write_private(work / SECRETS, json.dumps(kept))
        names.append(SECRETS)
    manifest = Manifest(
        version=__version__,
        schema_revision=revision,
        created_at=now,
        parts=[archive.describe(name, work / name) for name in names],
    )
    archive.write(work / final.name, manifest, work)
    archive.check(work / final.name)
    (work / final.name).rename(final)
    _sync(final.parent)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold a directory of backups; the kernel lets go of it however we end.

    Raises
    ------
    BackupRunning
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupRunning(
                f"A backup is being made in {directory}, or put back from there. Wait for it."
            ) from error
        yield
    finally:
        os.close(handle)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
