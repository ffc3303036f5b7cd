"""The schema's history: Alembic inside the package, so that a wheel can migrate by itself.

All steps run in one transaction under one advisory lock: two processes that start at once migrate
once, and a step that fails leaves the database as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

# Importing them registers the tables.
import dachub.accounting.tables
import dachub.directory.tables
import dachub.infra.leadership
import dachub.notices.tables
import dachub.quota.tables
import dachub.reports.tables
import dachub.storage.tables  # noqa: F401
from dachub.infra.database import Base
from dachub.model.problems import Conflict, Unavailable

LOCK_KEY = 0x64616368756200  # "dachub", then 00: migrations
LOCK_WAIT_SECONDS = 60
"""How long another process may take to migrate before we give up."""
TABLE_LOCK_WAIT_SECONDS = 10
STATEMENT_SECONDS = 900


class DatabaseNewer(Conflict):
    """The database was migrated by a later dachub than this one."""

    code = "database-newer"


class DatabaseBusy(Unavailable):
    """Another process holds what the migration needs."""

    code = "database-busy"


def head() -> str:
    """Revision that this code needs."""
    revision = _scripts().get_current_head()
    if revision is None:  # pragma: no cover - a package without its migrations is broken
        raise Unavailable("This installation lacks its migrations; install dachub again.")
    return revision


def current(url: str) -> str | None:
    """Revision of the database at ``url``; ``None`` before the first migration."""
    with _connected(url) as connection:
        return _revision(connection)


def upgrade(url: str) -> str:
    """Bring the database at ``url`` to :func:`head`; nothing happens if it is there already.

    Returns
    -------
    str
        The revision reached.

    Raises
    ------
    DatabaseNewer
        If the database is ahead of this code.
    DatabaseBusy
        If another process is migrating, or a table stays locked, for too long.
    Unavailable
        If the database does not answer.
    """
    with _connected(url) as connection:
        try:
            _set_limits(connection, lock_wait_seconds=LOCK_WAIT_SECONDS)
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            _require_known(connection)
            if _revision(connection) != head():
                _set_limits(connection, lock_wait_seconds=TABLE_LOCK_WAIT_SECONDS)
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            connection.commit()
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in {"55P03", "57014"}:
                raise
            raise DatabaseBusy(
                "The database could not be migrated because another process keeps it locked. "
                "Nothing was changed; stop other dachub processes that use it and start again."
            ) from error
    return head()


def check(url: str) -> list[str]:
    """Differences between the tables in the database and in the code; empty when they agree."""
    with _connected(url) as connection:
        _require_known(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def knows(revision: str) -> bool:
    """Whether a revision is one of this dachub's or of an earlier one's."""
    return revision in {script.revision for script in _scripts().walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        poolclass=NullPool,
        connect_args={"connect_timeout": 10, "options": "-c timezone=UTC"},
    )
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise Unavailable(
            f"The database does not answer ({str(error.orig).strip().splitlines()[0]}). "
            "Check that PostgreSQL runs and that database.url is right."
        ) from error
    with connection:
        yield connection


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _require_known(connection: Connection) -> None:
    revision = _revision(connection)
    if revision is not None and not knows(revision):
        raise DatabaseNewer(
            f"The database is at revision {revision}, which this dachub does not know (it knows up "
            f"to {head()}): a newer dachub has used it. Install that version or a later one, or "
            "restore the database from before."
        )


def _set_limits(connection: Connection, *, lock_wait_seconds: int) -> None:
    connection.execute(text(f"set local lock_timeout = '{lock_wait_seconds}s'"))
    connection.execute(text(f"set local statement_timeout = '{STATEMENT_SECONDS}s'"))
