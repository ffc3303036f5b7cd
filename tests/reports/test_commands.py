"""``dachub export``: what it prints, and how it fails."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.reports.conftest import OPERATOR, ran, session_id, utc
from typer.testing import CliRunner

from dachub.cli.main import app
from dachub.config import Settings
from dachub.server.factory import Process

REPORTS = Path(__file__).parents[2] / "docs" / "reports.md"
FEBRUARY = ("--since", "2026-02-01", "--until", "2026-03-01")


@pytest.fixture
def data(tmp_path: Path, database_url: str) -> Path:
    (tmp_path / "dachub.yaml").write_text(
        yaml.safe_dump(
            {"database": {"url": database_url}, "reports": {"xdmod_resource": "survey-dac"}}
        )
    )

    async def tell() -> None:
        process = Process.connect(Settings(), database_url)
        async with process.factory() as services:
            told = ran("one", utc(2026, 2, 3), utc(2026, 2, 3, 10), milli_cores=1500)
            await services.ledger().apply(told + ran("two", utc(2026, 2, 3), utc(2026, 2, 4)))
        await process.close()

    asyncio.run(tell())
    return tmp_path


def run(data: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"DACHUB_DATA": str(data)})
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def read(data: Path, *arguments: str) -> Any:
    return json.loads(run(data, *arguments, "--json"))


def test_jobs_say_how_they_agree_with_the_portal_and_what_the_format_adds(data: Path) -> None:
    said = run(data, "export", "xdmod", "jobs", *FEBRUARY, "--output", str(data / "jobs.log"))
    assert "39.0000 core-hours, as exported 44.0000 (+5.0000 by the format's whole numbers)" in said
    assert "+39.0000 2 used in the period, as the portal shows it" in " ".join(said.split())
    lines = (data / "jobs.log").read_text().splitlines()
    assert [line.split("|")[2] for line in lines] == ["survey-dac"] * 2
    (run_,) = read(data, "export", "list")
    assert (run_["format"], run_["state"], run_["records"]) == ("xdmod-jobs", "done", 2)
    assert run_["files"][0]["name"] == "jobs.log"
    assert "jobs.log" in run(data, "export", "list", "--format", "xdmod-jobs")
    assert read(data, "export", "list", "--format", "apel-cloud") == []
    assert read(data, "export", "differences", *FEBRUARY) == []
    (entry,) = [one for one in read(data, "audit") if one["action"] == "exported"]
    assert entry["details"]["records"] == 2


def test_differences_come_with_what_to_do(data: Path, database_url: str) -> None:
    run(data, "export", "xdmod", "jobs", *FEBRUARY, "--output", f"{data}/new/")

    async def void() -> None:
        process = Process.connect(Settings(), database_url)
        async with process.factory() as services:
            await services.corrections().void(OPERATOR, session_id("one"), "a test of ours")
        await process.close()

    asyncio.run(void())
    said = run(data, "export", "differences", *FEBRUARY)
    assert "a test of ours" in said
    assert "delete these jobs by their numbers" in said


def test_cloud_messages_need_a_directory(data: Path) -> None:
    refused = run(
        data, "export", "apel", "cloud", *FEBRUARY, "--output", str(data / "dachub.yaml"), code=1
    )
    assert "[invalid-input]" in refused
    done = read(data, "export", "apel", "cloud", *FEBRUARY, "--output", str(data / "outgoing"))
    assert (done["run"]["records"], done["run"]["milli_core_seconds"]) == (2, 39 * 3_600_000)
    (message,) = (data / "outgoing").iterdir()
    assert message.read_bytes().startswith(b"APEL-cloud-message: v0.4\n")


def test_a_period_that_is_none_is_refused(data: Path) -> None:
    wrong = ("--since", "2026-03-01", "--until", "2026-02-01", "--output", str(data))
    assert "[invalid-period]" in run(data, "export", "xdmod", "jobs", *wrong, code=1)
    assert "Missing option" in run(data, "export", "xdmod", "jobs", code=2)


def test_files_are_called_as_the_documentation_has_them(data: Path, tmp_path: Path) -> None:
    directory = tmp_path / "files"
    for table in ("names", "hierarchy"):
        run(data, "export", "xdmod", table, "--output", f"{directory}/")
    documented = re.findall(r"-i (\S+\.csv)", REPORTS.read_text())
    written = {re.sub(r"-[0-9a-f]{8}\.csv$", "-….csv", path.name) for path in directory.iterdir()}
    assert written == set(documented)


def test_tables_of_names(data: Path) -> None:
    run(data, "export", "xdmod", "names", "--output", str(data / "names.csv"))
    run(data, "export", "xdmod", "hierarchy", "--output", str(data / "hierarchy.csv"))
    assert (data / "hierarchy.csv").read_text() == "site:survey-dac,survey-dac,\n"
