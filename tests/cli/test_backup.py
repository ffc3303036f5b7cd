"""``dachub backup``: a rehearsed restore gives the same figures, and nobody is stopped on them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
from tests.cli.conftest import Command
from tests.cli.test_sessions import charge


def test_a_restore_gives_the_same_figures_and_quotas_wait(
    dachub: Command, database_url: str, tmp_path: Path
) -> None:
    kept = str(tmp_path / "kept")
    asyncio.run(charge(database_url))
    before = dachub("session", "list", "--json").json()
    made = dachub("backup", "create", kept, "--keep", "2")
    assert made.code == 0, made.err
    file = made.out.split(" (")[0]
    [listed] = dachub("backup", "list", kept, "--json").json()
    assert (listed["file"], listed["manifest"]["format"]) == (Path(file).name, 1)
    assert Path(file).name in dachub("backup", "list", kept).out
    assert "is whole" in dachub("backup", "check", file).out
    with psycopg.connect(database_url) as connection:
        noted = connection.execute("select outcome from worker_run where name = 'backup'")
        assert noted.fetchone() == (Path(file).name,)

    asyncio.run(charge(database_url))  # lost: after the backup
    refused = dachub("backup", "restore", file)
    assert (refused.code, "[has-data]" in refused.err) == (1, True)
    restored = dachub("backup", "restore", "--replace", file)
    assert restored.code == 0, restored.err
    assert dachub("session", "list", "--json").json() == before
    assert "agree" in dachub("usage", "check").out
    with psycopg.connect(database_url) as connection:
        doubt = connection.execute("select doubt from enforcement").fetchone()
    assert doubt is not None
    assert doubt[0].startswith("the database was restored")


def test_what_is_no_backup_is_listed_as_damaged_and_refused(
    dachub: Command, tmp_path: Path
) -> None:
    file = tmp_path / "dachub-20270310T120000Z.tar"
    file.write_bytes(b"not a tar" * 200)
    assert "DAMAGED" in dachub("backup", "list", str(tmp_path)).out
    for command in ("check", "restore"):
        refused = dachub("backup", command, str(file))
        assert (refused.code, "[backup-damaged]" in refused.err) == (1, True)
    missing = dachub("backup", "check", str(tmp_path / "none.tar"))
    assert (missing.code, "[not-found]" in missing.err) == (1, True)
