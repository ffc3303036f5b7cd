"""A restore with the embedded PostgreSQL, which runs for as long as it is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from tests.local.test_postgres import running

from dachub import config, migrations
from dachub.backup.create import create
from dachub.backup.restore import restored
from dachub.infra.files import write_private
from dachub.local import checks
from dachub.local.layout import Layout
from dachub.local.possession import AlreadyRunning, possessed
from dachub.local.supervision import Supervisor


def test_an_empty_data_directory_becomes_the_platform_that_was(
    layout: Layout, open_directory: Path
) -> None:
    write_private(layout.config, config.commented_text())
    with running(layout) as embedded:
        embedded.provide_database()
        migrations.upgrade(embedded.url())
        with psycopg.connect(embedded.url()) as connection:
            connection.execute(
                "insert into worker_run (name, succeeded_at, outcome, is_clean)"
                " values ('reconcile', now(), 'as it was', true)"
            )
        path = create(layout, embedded.url(), open_directory / "kept", datetime.now(UTC))
    other = Layout(open_directory / "other")
    with restored(other, path) as url:
        assert migrations.check(url) == []
        assert checks.check_restore(other).severity == "error"
        with pytest.raises(AlreadyRunning), possessed(other):
            pass
    assert checks.check_restore(other).severity == "ok"
    assert not Supervisor(other).record_path("postgres").exists()
    assert other.secret("portal-secret") == layout.secret("portal-secret")
    with running(other) as embedded:  # with the restored password
        embedded.provide_database()
        with psycopg.connect(embedded.url()) as connection:
            row = connection.execute("select outcome from worker_run").fetchone()
    assert row == ("as it was",)
