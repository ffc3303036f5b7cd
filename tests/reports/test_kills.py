"""Killed at any step, or on a full disk: the same command makes the same bytes, once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml
from click.testing import Result
from tests.reports.conftest import ran, utc
from typer.testing import CliRunner

from dachub.cli.main import app
from dachub.config import Settings
from dachub.reports.formats import slurm
from dachub.server.factory import Process

# What is replaced by our own death: before the first byte, half-way through a file, before it has
# its name, once it has it, before that is noted, and after everything.
STEPS = {
    "before anything is recorded": "ExportStore.begin",
    "before all is recorded": "ExportStore.complete",
    "before anything is written": "files.write_files",
    "half-way through a file": "files._written",
    "before the file has its name": "Path.rename",
    "once it has its name": "files._sync",
    "before that is noted": "ExportStore.conclude",
}
PROGRAM = """
import os, sys
from pathlib import Path
from dachub.cli.main import app
from dachub.reports.services import files
from dachub.reports.store.exports import ExportStore
from dachub.server import exporting

def die(*arguments):
    if name == "_written":
        arguments[0].write_text("half a li")
    os.kill(os.getpid(), 9)

step = sys.argv.pop(1)
if step:
    owner, name = step.split(".")
    setattr({"files": files, "Path": Path, "ExportStore": ExportStore}[owner], name, die)
    if name == "write_files":
        exporting.write_files = die
app()
"""
COMMAND = ("export", "xdmod", "jobs", "--since", "2026-02-01", "--until", "2026-03-01", "--output")


@pytest.fixture
def data(tmp_path: Path, database_url: str) -> Path:
    (tmp_path / "dachub.yaml").write_text(yaml.safe_dump({"database": {"url": database_url}}))

    async def tell() -> None:
        process = Process.connect(Settings(), database_url)
        async with process.factory() as services:
            for number in range(40):
                start = utc(2026, 2, 3, 0, number)
                await services.ledger().apply(ran(f"s{number}", start, utc(2026, 2, 4)))
        await process.close()

    asyncio.run(tell())
    return tmp_path


def killed(data: Path, *arguments: str, at: str) -> int:
    """Run ``dachub`` until it kills itself at a step; gives its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, at, *arguments],
        capture_output=True,
        env={**os.environ, "DACHUB_DATA": str(data), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    return done.returncode


def dachub(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"DACHUB_DATA": str(data)})


def state(database_url: str) -> list[tuple[str, int]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select state, (select count(*) from export_item i where i.run_id = r.run_id)"
            " from export_run r order by run_id"
        ).fetchall()


@pytest.mark.kill
def test_killed_at_any_step_the_same_command_finishes(data: Path, database_url: str) -> None:
    whole = ""
    for number, (what, step) in enumerate(STEPS.items()):
        output = data / f"out-{number}"
        output.mkdir()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("truncate export_run, export_file, export_part, export_item")
        assert killed(data, *COMMAND, str(output), at=step) == -signal.SIGKILL, what
        seen = [path for path in output.iterdir() if path.is_file()]
        for path in seen:
            assert path.read_text() == whole, what
        recorded = state(database_url)
        assert recorded == ([] if "recorded" in what else [("prepared", 40)]), what
        again = dachub(data, *COMMAND, str(output))
        assert again.exit_code == 0, (what, again.stderr)
        (file,) = output.iterdir()
        text = file.read_text()
        assert len({slurm.read_line(line).job_id for line in text.splitlines()}) == 40
        assert text == (whole or text), what
        whole = text
        assert state(database_url) == [("done", 40)]
        nothing = dachub(data, *COMMAND, str(output))
        assert "nothing to export" in nothing.stdout
        assert list(output.iterdir()) == [file]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_takes_nothing_half_written(data: Path, database_url: str) -> None:
    small = data / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine mounts nothing")
    try:
        full = dachub(data, *COMMAND, str(small))
        assert full.exit_code == 1
        assert "the disk is full" in full.stderr
        assert "[output-failed]" in full.stderr
        assert list(small.iterdir()) == []
        assert state(database_url) == [("prepared", 40)]
    finally:
        subprocess.run(["umount", str(small)], check=True)
    elsewhere = dachub(data, *COMMAND, str(data / "jobs.log"))
    assert elsewhere.exit_code == 0, elsewhere.stderr
    assert "was finished" in elsewhere.stdout
    assert len((data / "jobs.log").read_text().splitlines()) == 40
    assert state(database_url) == [("done", 40)]
