"""The schema: the migrations make exactly the tables of the code, once, whoever starts at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.conftest import Databases

from dachub import migrations
from dachub.model.problems import Unavailable


def test_migrations_make_the_tables_of_the_code(databases: Databases) -> None:
    url = databases.create()
    assert migrations.current(url) is None
    assert migrations.upgrade(url) == migrations.head()
    assert migrations.current(url) == migrations.head()
    assert migrations.check(url) == []


def test_check_names_what_differs(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("alter table session drop column gpus")
    assert any("gpus" in difference for difference in migrations.check(database_url))


def test_several_that_start_at_once_migrate_once(databases: Databases) -> None:
    url = databases.create()
    with ThreadPoolExecutor(4) as pool:
        reached = list(pool.map(migrations.upgrade, [url] * 4))
    assert reached == [migrations.head()] * 4
    assert migrations.check(url) == []


def test_a_database_of_a_newer_dachub_is_refused_and_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(migrations.DatabaseNewer, match="9999") as error:
        migrations.upgrade(database_url)
    assert error.value.code == "database-newer"
    assert migrations.current(database_url) == "9999"


def test_a_migration_that_cannot_get_the_lock_gives_up(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.create()
    monkeypatch.setattr(migrations, "LOCK_WAIT_SECONDS", 1)
    with psycopg.connect(url) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [migrations.LOCK_KEY])
        with pytest.raises(migrations.DatabaseBusy, match="Nothing was changed"):
            migrations.upgrade(url)
    assert migrations.current(url) is None


def test_a_database_that_is_down_is_named_as_such() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        migrations.upgrade("postgresql://nobody@127.0.0.1:1/none")
