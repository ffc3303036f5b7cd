"""Putting a backup back: everything is checked first, and each part is the old or the new.

A mark lies in the data directory from the first change to the last. While it is there ``dachub up``
refuses to start, and the same restore done again finishes the work. In a pod there is no such
directory: the mark lies beside the backup, and secrets are the cluster's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dachub import config, migrations
from dachub.backup import archive, database, sqlite
from dachub.backup.archive import CONFIG, DATABASE, HUB, OUTBOX, SECRETS, Manifest
from dachub.backup.create import OF_THE_CLUSTER, alone
from dachub.config import external_database_url
from dachub.infra.files import write_private
from dachub.local.layout import SECRETS as SECRET_NAMES
from dachub.local.layout import Layout
from dachub.local.leftovers import end_leftovers
from dachub.local.possession import possessed
from dachub.local.postgres import EmbeddedPostgres
from dachub.local.supervision import Supervisor
from dachub.local.wiring import Endpoints
from dachub.model.problems import Conflict, Unavailable

READY_SECONDS = 300
STOP_SECONDS = 60
POLL_SECONDS = 0.1
WORK = "restore.unfinished"


class HasData(Conflict):
    """There is something that would be lost."""

    code = "has-data"


class BackupNewer(Conflict):
    """A later dachub made the backup."""

    code = "backup-newer"


def require_fitting(path: Path) -> Manifest:
    """Check all of a backup, and that this dachub knows its schema.

    Raises
    ------
    NotFound, BackupDamaged, BackupNewer
    """
    manifest = archive.check(path)
    if not migrations.knows(manifest.schema_revision):
        raise BackupNewer(
            f"{path} is of dachub {manifest.version} with a database at revision "
            f"{manifest.schema_revision}, which this dachub does not know. Install that version "
            "or a later one."
        )
    return manifest


@contextmanager
def restored(layout: Layout, path: Path, *, replace: bool = False) -> Iterator[str]:
    """Restore a backup to the data directory of ``layout``, with the platform stopped.

    Gives the URL of the restored database, for what is to be noted in it; the restore is finished
    when that went well.

    Parameters
    ----------
    replace
        Whether what is there may be lost. Its ``dachub.yaml`` stays, and so does its outbox, which
        takes the letters of the backup.

    Raises
    ------
    NotFound, BackupDamaged, BackupNewer
        If the backup cannot be used; nothing was changed.
    HasData
        If there is data, and not ``replace``.
    AlreadyRunning, BackupRunning, DatabaseInUse
        If the platform runs, or somebody else is at it.
    NotRestored
        If the database cannot take it; everything is as it was.
    Unavailable
        If a part cannot be read or written.
    """
    manifest = require_fitting(path)
    parts = {part.name for part in manifest.parts}
    if layout.is_borrowed:
        layout = dataclasses.replace(layout, data=path.absolute().parent)
    with _for_us_alone(), _held(layout):
        if not replace and (layout.outbox.exists() or layout.hub_database.exists()):
            raise HasData(_has_data(str(layout.data)))
        if not layout.is_borrowed:
            _complete(layout, path)
        work = layout.data / WORK
        shutil.rmtree(work, ignore_errors=True)  # of one that was killed
        work.mkdir(mode=0o700)
        try:
            with _database(layout) as url:
                database.require_unused(url)
                if not replace and not database.is_empty(url):
                    raise HasData(_has_data("the database"))
                for name in {DATABASE, OUTBOX, HUB} & parts:
                    with archive.part_of(path, name) as source, (work / name).open("wb") as copy:
                        shutil.copyfileobj(source, copy)
                _restore_database(layout, url, path, work)
                migrations.upgrade(url)
                _restore_hub(layout, work)
                if SECRETS in parts and not layout.is_borrowed:
                    _restore_secrets(layout, path)
                yield url
            layout.restoring.unlink()
        except OSError as error:
            raise Unavailable(
                f"{path} could not be restored: {error.strerror or error}. Try again: what is "
                "done already is done once more."
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _for_us_alone() -> Iterator[None]:
    """What is written meanwhile nobody else can read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _held(layout: Layout) -> Iterator[None]:
    """Let nobody else work here, nor what an earlier start left."""
    if layout.is_borrowed:
        with alone(layout.data):
            yield
        return
    layout.create()
    with possessed(layout):
        end_leftovers(layout, Supervisor(layout))
        yield


def _complete(layout: Layout, path: Path) -> None:
    """Give a data directory the configuration and the secrets that it lacks."""
    if not layout.config.exists():
        with archive.part_of(path, CONFIG) as content:
            write_private(layout.config, content.read())
    layout.create_secrets()


def _restore_database(layout: Layout, url: str, path: Path, work: Path) -> None:
    """Begin the change: from here on the mark lies there."""
    was_interrupted = layout.restoring.exists()
    write_private(layout.restoring, f"{path.absolute()}\n")
    try:
        database.load(url, work / DATABASE)
    except database.NotRestored:
        if not was_interrupted:
            layout.restoring.unlink()  # all is as it was
        raise


def _restore_hub(layout: Layout, work: Path) -> None:
    if (work / OUTBOX).exists():
        # An outbox that is there has what happened since, and must not be lost with the rest.
        put = sqlite.merge_outbox if layout.outbox.exists() else sqlite.copy
        put(work / OUTBOX, layout.outbox)
    if (work / HUB).exists():
        sqlite.copy(work / HUB, layout.hub_database)


def _restore_secrets(layout: Layout, path: Path) -> None:
    with archive.part_of(path, SECRETS) as content:
        found = json.load(content)
    for name in SECRET_NAMES:
        if name in found and name != OF_THE_CLUSTER:
            write_private(layout.secrets / name, f"{found[name]}\n")


@contextmanager
def _database(layout: Layout) -> Iterator[str]:
    """The database's URL; the embedded PostgreSQL runs for as long as it is needed."""
    settings = config.load(layout.config)
    external = external_database_url(settings)
    if external is not None:
        if layout.is_borrowed:
            database.await_answer(external)
        yield external
        return
    embedded = EmbeddedPostgres(layout, Endpoints.choose(layout, settings).postgres_port)
    embedded.prepare()
    spec = layout.run / "postgres.child.json"
    record = Supervisor(layout).record_path("postgres")
    write_private(spec, embedded.child(record).model_dump_json())
    with (layout.logs / "postgres.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dachub.local.launch", spec], stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + READY_SECONDS
        while not embedded.is_ready():
            if server.poll() is not None or time.monotonic() > until:
                raise Unavailable(
                    "The embedded PostgreSQL does not come up; the end of "
                    f"{layout.logs / 'postgres.log'} says why."
                )
            time.sleep(POLL_SECONDS)
        embedded.provide_database()
        yield embedded.url()
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: nobody waits for who is connected
        server.wait(STOP_SECONDS)
        spec.unlink()
        record.unlink(missing_ok=True)


def _has_data(where: str) -> str:
    return (
        f"There is data in {where}, which a restore would replace; nothing was changed. Back it up "
        "first, then restore with --replace."
    )
