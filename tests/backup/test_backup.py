"""A backup holds one moment, and a restore gives it back: whole, or not at all."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import AbstractContextManager, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import yaml
from tests.conftest import Databases
from tests.harness.waiting import until

from dachub import migrations
from dachub.backup import archive, database
from dachub.backup.archive import BackupDamaged
from dachub.backup.create import BackupRunning, backups, create
from dachub.backup.restore import BackupNewer, HasData, require_fitting, restored
from dachub.hub.outbox import Outbox
from dachub.local.layout import Layout
from dachub.model.people import LoginRecord
from dachub.model.problems import Unavailable

ADD_PERSON = """
    insert into person (username, issuer, subject, full_name, email, is_administrator, created_at)
    values (%(name)s, 'local', %(name)s, '', '', false, now())"""
NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path, database_url: str) -> Layout:
    """A platform with a person, a letter in its outbox, and a database of its hub."""
    layout = platform(tmp_path / "data", database_url)
    layout.create_secrets()
    add_people(database_url, "ada")
    post(layout, "first")
    with closing(sqlite3.connect(layout.hub_database)) as hub, hub:
        hub.execute("create table users (name text)")
        hub.execute("insert into users values ('ada')")
    return layout


def platform(data: Path, url: str) -> Layout:
    layout = Layout(data)
    layout.create()
    layout.config.write_text(yaml.safe_dump({"database": {"url": url}}))
    return layout


def pod(data: Path, config: Path, hub: Path) -> Layout:
    """How a pod sees these files; its data directory is not there."""
    return Layout(data, config, hub / "outbox.sqlite", hub / "jupyterhub.sqlite")


def add_people(url: str, *names: str) -> None:
    with psycopg.connect(url) as connection:
        for name in names:
            connection.execute(ADD_PERSON, {"name": name})


def people(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select username from person order by username")
        return [name for (name,) in rows]


def post(layout: Layout, *subjects: str) -> None:
    async def write() -> None:
        outbox = Outbox(layout.outbox)
        for subject in subjects:
            await outbox.post_login(
                LoginRecord(issuer="https://idp", subject=subject, username=subject, at=NOON)
            )
        await outbox.close()

    asyncio.run(write())


def letters(layout: Layout) -> list[str]:
    with closing(sqlite3.connect(layout.outbox)) as outbox:
        rows = outbox.execute("select key from outbox order by seq")
        return [key.partition("\0")[2] for (key,) in rows]


def url_of(layout: Layout) -> str:
    return str(yaml.safe_load(layout.config.read_text())["database"]["url"])


def unused(url: str) -> bool:
    try:
        database.require_unused(url)
    except database.DatabaseInUse:
        return False
    return True


def backup(layout: Layout, directory: Path, at: datetime = NOON, **options: int) -> Path:
    return create(layout, url_of(layout), directory, at, **options)  # type: ignore[arg-type]


def restore(layout: Layout, path: Path, *, replace: bool = False) -> None:
    with restored(layout, path, replace=replace) as url:
        assert url == url_of(layout)


def test_a_new_machine_gets_everything_back(
    layout: Layout, tmp_path: Path, databases: Databases
) -> None:
    path = backup(layout, tmp_path / "kept")
    assert path.stat().st_mode & 0o777 == 0o600
    other = platform(tmp_path / "other", databases.create())
    restore(other, path)
    assert people(url_of(other)) == ["ada"]
    assert migrations.check(url_of(other)) == []
    assert letters(other) == ["first"]
    with closing(sqlite3.connect(other.hub_database)) as hub:
        assert hub.execute("select name from users").fetchall() == [("ada",)]
    assert other.secret("crypt-key") == layout.secret("crypt-key")
    assert other.secret("database-superuser-password") != layout.secret(
        "database-superuser-password"
    )
    assert not other.restoring.exists()
    again = backup(other, tmp_path / "again")  # what was restored can be backed up and restored
    restore(other, again, replace=True)
    assert people(url_of(other)) == ["ada"]


def test_in_a_pod_everything_lies_where_the_cluster_mounts_it(
    layout: Layout, tmp_path: Path, databases: Databases
) -> None:
    path = backup(pod(tmp_path / "old", layout.config, layout.hub), tmp_path / "kept")
    there = platform(tmp_path / "new", databases.create())
    given = pod(tmp_path / "mounted", there.config, there.hub)
    restore(given, path)
    assert people(url_of(there)) == ["ada"]
    assert letters(there) == ["first"]
    assert there.hub_database.exists()
    assert not given.data.exists()
    assert list(path.parent.iterdir()) == [path]


def test_in_a_pod_what_is_half_done_is_marked_beside_the_backup(
    layout: Layout, tmp_path: Path
) -> None:
    given = pod(tmp_path / "mounted", layout.config, layout.hub)
    path = backup(given, tmp_path / "kept")
    mark = path.with_name("restore-unfinished")
    with suppress(KeyboardInterrupt), restored(given, path, replace=True):
        assert mark.exists()
        with pytest.raises(BackupRunning):
            backup(given, path.parent, NOON.replace(hour=13))
        raise KeyboardInterrupt
    restore(given, path, replace=True)
    assert not mark.exists()


def test_a_database_that_a_new_pod_does_not_reach_yet_is_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [Unavailable("not yet"), Unavailable("not yet")]
    monkeypatch.setattr(database.time, "sleep", lambda _: None)
    real = database._connected

    def connected(url: str) -> AbstractContextManager[psycopg.Connection]:
        if refused:
            raise refused.pop()
        return real(url)

    monkeypatch.setattr(database, "_connected", connected)
    database.await_answer(database_url, seconds=60)
    refused.append(Unavailable("not ever"))
    with pytest.raises(Unavailable, match="not ever"):
        database.await_answer(database_url, seconds=-1)


def test_a_backup_under_load_holds_one_moment(
    layout: Layout, tmp_path: Path, databases: Databases
) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(url_of(layout)) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                with connection.transaction():  # always two at once
                    for name in (f"a{number}", f"b{number}"):
                        connection.execute(ADD_PERSON, {"name": name})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        path = backup(layout, tmp_path / "kept")
    finally:
        stop.set()
        writer.join()
    other = platform(tmp_path / "other", databases.create())
    restore(other, path)
    names = people(url_of(other))
    assert {f"b{name[1:]}" for name in names if name != "ada" and name[0] == "a"} == {
        name for name in names if name[0] == "b"
    }


def test_letters_since_the_backup_stay_and_those_of_the_backup_come_first(
    layout: Layout, tmp_path: Path
) -> None:
    post(layout, "second")
    path = backup(layout, tmp_path / "kept")
    with closing(sqlite3.connect(layout.outbox)) as outbox, outbox:
        outbox.execute("delete from outbox where body like '%first%'")  # delivered
    post(layout, "third")
    add_people(url_of(layout), "grace")
    with pytest.raises(HasData):
        restore(layout, path)
    assert people(url_of(layout)) == ["ada", "grace"]
    restore(layout, path, replace=True)
    assert people(url_of(layout)) == ["ada"]
    assert letters(layout) == ["first", "second", "third"]


def test_a_platform_that_runs_is_not_restored(layout: Layout, tmp_path: Path) -> None:
    path = backup(layout, tmp_path / "kept")
    with psycopg.connect(url_of(layout)), pytest.raises(database.DatabaseInUse):
        restore(layout, path, replace=True)
    assert not layout.restoring.exists()


def test_a_damaged_part_is_named_and_nothing_is_changed(layout: Layout, tmp_path: Path) -> None:
    path = backup(layout, tmp_path / "kept")
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        places = {entry.name: entry.offset_data for entry in tar}
    for name in ("database.dump", "outbox.sqlite", "jupyterhub.sqlite", "secrets.json"):
        damaged = bytearray(whole)
        damaged[places[name] + 30] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(BackupDamaged, match=f"The part {name}"):
            restore(layout, path, replace=True)
    path.write_bytes(whole[: places["database.dump"] + 1000])
    with pytest.raises(BackupDamaged, match=r"The part database\.dump"):
        restore(layout, path, replace=True)
    path.write_bytes(b"")
    with pytest.raises(BackupDamaged):
        restore(layout, path, replace=True)
    assert people(url_of(layout)) == ["ada"]


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "database.dump"])
def test_hostile_members_are_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    path = backup(layout, tmp_path / "kept")
    hostile = tmp_path / "hostile.tar"
    with tarfile.open(path) as good, tarfile.open(hostile, "w") as bad:
        for entry in good:
            bad.addfile(entry, good.extractfile(entry))
        if name == "database.dump":  # a second one, a link to what is ours to read
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
            bad.addfile(link)
        else:
            bad.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(BackupDamaged):
        archive.check(hostile)


def test_a_backup_of_a_later_schema_is_refused(layout: Layout, tmp_path: Path) -> None:
    with psycopg.connect(url_of(layout)) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    path = backup(layout, tmp_path / "kept")
    with pytest.raises(BackupNewer, match="9999"):
        require_fitting(path)


def test_only_so_many_are_kept_and_only_ours_are_removed(layout: Layout, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.tar").touch()
    made = [backup(layout, kept, NOON.replace(hour=hour), keep=2) for hour in (1, 2, 3)]
    assert backups(kept) == [made[2], made[1]]
    # A clock that was set back does not cost the one just made.
    early = backup(layout, kept, NOON.replace(hour=0), keep=2)
    assert backups(kept) == [made[2], early]
    assert sorted(path.name for path in kept.iterdir() if path not in (made[2], early)) == [
        "notes.tar"
    ]


def test_two_at_once_are_refused_and_what_a_killed_one_left_goes(
    layout: Layout, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    (kept / ".unfinished").mkdir(parents=True)
    (kept / ".unfinished" / "database.dump").touch()
    handle = os.open(kept, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BackupRunning):
        backup(layout, kept)
    os.close(handle)
    path = backup(layout, kept)
    assert list(kept.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    before = backup(layout, kept, NOON.replace(hour=1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archive, "write", full)
    with pytest.raises(Unavailable, match="No space left"):
        backup(layout, kept, keep=1)
    assert list(kept.iterdir()) == [before]


KILLED = """
import os, signal, sys, types
from pathlib import Path
from dachub.backup import database, restore, sqlite
from dachub.local.layout import Layout

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

step = sys.argv[1]
if step == "half":  # in the middle of the dump's statements
    pump = lambda source, to: (to.write(source.read(20_000)), to.flush(), die())
    database.shutil = types.SimpleNamespace(copyfileobj=pump)
elif step == "before-commit":
    database.COMMIT = type("Late", (), {"encode": die})()
elif step == "after-commit":
    restore.migrations.upgrade = die
elif step == "before-hub":
    restore.sqlite.merge_outbox = die
elif step == "before-secrets":
    restore._restore_secrets = die
with restore.restored(Layout(Path(sys.argv[2])), Path(sys.argv[3]), replace=True):
    die()
"""


@pytest.mark.parametrize(
    "step", ["half", "before-commit", "after-commit", "before-hub", "before-secrets", "last"]
)
def test_killed_at_any_step_the_database_is_the_old_or_the_new_and_a_second_try_finishes(
    layout: Layout, tmp_path: Path, step: str
) -> None:
    path = backup(layout, tmp_path / "kept")
    add_people(url_of(layout), "grace")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, step, layout.data, path], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    until(lambda: unused(url_of(layout)), "PostgreSQL has noticed that nobody is there any more")
    old = ["ada", "grace"]
    assert people(url_of(layout)) == (old if step in {"half", "before-commit"} else ["ada"])
    assert layout.restoring.read_text().strip() == str(path)
    restore(layout, path, replace=True)
    assert people(url_of(layout)) == ["ada"]
    assert letters(layout) == ["first"]
    assert not layout.restoring.exists()
    assert not (layout.data / "restore.unfinished").exists()


def test_an_outbox_that_is_no_database_is_told_and_leaves_nothing(
    layout: Layout, tmp_path: Path
) -> None:
    layout.outbox.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match=r"outbox\.sqlite"):
        backup(layout, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_database_that_does_not_answer_is_told(layout: Layout, tmp_path: Path) -> None:
    path = backup(layout, tmp_path / "kept")
    gone = platform(tmp_path / "gone", "postgresql://dachub@127.0.0.1:1/dachub")
    with pytest.raises(Unavailable, match="does not answer"):
        backup(gone, tmp_path / "none")
    with pytest.raises(Unavailable, match="does not answer"):
        restore(gone, path)
    assert not gone.restoring.exists()


def test_what_fails_in_the_database_leaves_the_old_one_and_no_mark(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = backup(layout, tmp_path / "kept")
    add_people(url_of(layout), "grace")
    monkeypatch.setattr(database, "COMMIT", "\nselect 1 / 0;\ncommit;\n")
    with pytest.raises(database.NotRestored, match="division by zero"):
        restore(layout, path, replace=True)
    monkeypatch.undo()
    no_dump = tmp_path / "no.dump"
    no_dump.write_bytes(b"PGDMP and no more")
    with pytest.raises(database.NotRestored):
        database.load(url_of(layout), no_dump)
    assert people(url_of(layout)) == ["ada", "grace"]
    assert not layout.restoring.exists()
