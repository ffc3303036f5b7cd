"""The embedded PostgreSQL: passwords for everybody, an account of its own, nothing half-made."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from tests.harness.platform import free_port
from tests.harness.waiting import until

from dachub.local.layout import Layout, write_private
from dachub.local.postgres import ACCOUNT, DatabaseFaulty, EmbeddedPostgres
from dachub.local.processes import ProcessRecord


@contextmanager
def running(layout: Layout) -> Iterator[EmbeddedPostgres]:
    """Start it as supervisord does, and end it."""
    embedded = EmbeddedPostgres(layout, free_port())
    embedded.prepare()
    record = layout.run / "postgres.process.json"
    spec = layout.run / "postgres.child.json"
    write_private(spec, embedded.child(record).model_dump_json())
    with (layout.logs / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dachub.local.launch", spec], stdout=log, stderr=log
        )
    try:
        until(embedded.is_ready, "PostgreSQL lets us in")
        noted = ProcessRecord.read(record)
        assert noted is not None
        assert noted.pid == process.pid
        assert noted.is_running
        yield embedded
    finally:
        process.terminate()
        process.wait(30)


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, connect_timeout=5, autocommit=True)


def test_everybody_needs_a_password_and_it_listens_on_loopback_only(layout: Layout) -> None:
    with running(layout) as embedded:
        embedded.provide_database()
        embedded.provide_database()  # again: changes nothing
        with connect(embedded.url()) as connection:
            shown = connection.execute(
                "select current_user, current_setting('data_checksums'), "
                "current_setting('password_encryption'), current_setting('listen_addresses'), "
                "current_setting('timezone'), rolsuper, "
                "rolcreaterole, rolcreatedb from pg_roles where rolname = current_user"
            ).fetchone()
            assert shown == (
                "dachub", "on", "scram-sha-256", "127.0.0.1", "UTC", False, False, False,
            )  # fmt: skip
        with connect(embedded.url("postgres", "postgres")) as superuser:
            rules = superuser.execute("select distinct auth_method from pg_hba_file_rules")
            assert rules.fetchall() == [("scram-sha-256",)]
            sockets = superuser.execute("show unix_socket_directories").fetchone()
            assert sockets == ("",)
        parts = urlsplit(embedded.url())
        for secret in ("", "wrong"):
            address = f"{parts.username}:{secret}@{parts.hostname}:{parts.port}"
            with pytest.raises(psycopg.OperationalError):
                connect(parts._replace(netloc=address).geturl())
        [server] = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(embedded.cluster) in (process.info["cmdline"] or [])
        ]
        assert {at.laddr.ip for at in server.net_connections() if at.status == "LISTEN"} == {
            "127.0.0.1"
        }
        for name in ("database-password", "database-superuser-password"):
            assert layout.secret(name) not in " ".join(server.cmdline())
            assert layout.secret(name) not in (layout.logs / "postgres.log").read_text()
        assert not (layout.postgres / "initial-password").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_as_root_it_runs_under_its_own_account(layout: Layout) -> None:
    with running(layout) as embedded:
        account = pwd.getpwnam(ACCOUNT)
        assert account.pw_shell.endswith("nologin")
        [server] = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(embedded.cluster) in (process.info["cmdline"] or [])
        ]
        assert set(server.uids()) == {account.pw_uid}
        assert set(server.gids()) == {account.pw_gid}
        groups = Path(f"/proc/{server.pid}/status").read_text().split("Groups:")[1].split("\n")[0]
        assert groups.split() == []
        for path in (layout.postgres, embedded.cluster):
            found = path.stat()
            assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (account.pw_uid, 0o700)
        # The account gets at nothing of the platform's besides.
        for closed in (layout.secrets, layout.hub, layout.run):
            denied = subprocess.run(
                ["ls", closed], user=account.pw_uid, group=account.pw_gid, extra_groups=[],
                capture_output=True, check=False,
            )  # fmt: skip
            assert denied.returncode != 0


def test_a_set_up_that_was_cut_off_starts_anew(layout: Layout) -> None:
    unfinished = layout.postgres / "cluster.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("rubbish")
    with running(layout) as embedded:
        assert embedded.is_prepared
        assert not unfinished.exists()


def test_a_lost_service_password_is_set_again(layout: Layout) -> None:
    with running(layout) as embedded:
        embedded.provide_database()
        before = embedded.url()
        (layout.secrets / "database-password").unlink()
        layout.create_secrets()
        assert embedded.url() != before
        embedded.provide_database()
        connect(embedded.url()).close()
        with pytest.raises(psycopg.OperationalError):
            connect(before)


def test_a_cluster_of_another_version_is_left_alone(layout: Layout) -> None:
    embedded = EmbeddedPostgres(layout, free_port())
    embedded.prepare()
    (embedded.cluster / "PG_VERSION").write_text("14\n")
    with pytest.raises(DatabaseFaulty) as caught:
        embedded.prepare()
    assert caught.value.code == "database-faulty"
    assert "PostgreSQL 14" in caught.value.message


def test_a_pid_file_whose_number_another_program_has_does_not_block(layout: Layout) -> None:
    embedded = EmbeddedPostgres(layout, free_port())
    embedded.prepare()
    pid_file = embedded.cluster / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{embedded.cluster}\n")
    with running(layout):
        assert pid_file.read_text().split()[0] != str(os.getpid())
