"""Commands on the platform as a whole, and how commands fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml
from tests.cli.conftest import Command
from tests.conftest import Databases
from typer.testing import CliRunner

from dachub.cli.main import app


def test_configuration(dachub: Command, data: Path) -> None:
    assert dachub("config", "check", "--json").json()["valid"] is True
    shown = dachub("config", "show", "--json").json()
    assert shown["listen"]["port"] == 8000
    assert yaml.safe_load(dachub("config", "show").out) == shown
    assert dachub("config", "schema").json()["additionalProperties"] is False
    (data / "dachub.yaml").write_text("listen: {prot: 1}\n")
    for command in ("check", "show"):
        wrong = dachub("config", command)
        assert wrong.code == 1
        assert "did you mean 'port'" in wrong.err
        assert "[configuration-invalid]" in wrong.err
    secret = data / "secret"
    secret.write_text("hunter2-hunter2\n")
    (data / "dachub.yaml").write_text(
        "database: {url: 'postgresql://u@h/d', password_file: secret}\n"
        "login: {openid: {issuer: https://x, client_id: y, client_secret_file: secret}}\n"
    )
    assert dachub("config", "check").code == 0
    for arguments in (("config", "show"), ("config", "show", "--json")):
        assert "hunter2" not in dachub(*arguments).out
    secret.unlink()
    assert dachub("config", "check").code == 1


def test_migrate(dachub: Command) -> None:
    assert "revision" in dachub("migrate").out


def test_status_of_a_platform_that_does_not_run(dachub: Command) -> None:
    status = dachub("status", "--json")
    assert status.code == 1
    assert '"running": false' in status.out
    assert "NOT running" in dachub("status").out


def test_doctor_tells_what_and_what_to_do(dachub: Command, data: Path) -> None:
    findings = json.loads(dachub("doctor", "--json").out)
    assert {"code", "severity", "what", "why", "advice"} == set(findings[0])
    codes = {finding["code"]: finding for finding in findings}
    assert codes["database"]["severity"] == "ok"
    assert codes["not-running"]["advice"]
    (data / "dachub.yaml").write_text("listn: {}\n")
    broken = dachub("doctor")
    assert broken.code == 1
    assert "did you mean 'listen'" in broken.out


@pytest.mark.parametrize("noun", ["user", "group", "allocation", "request", "session"])
def test_no_platform_there(noun: str, dachub: Command, tmp_path: Path) -> None:
    (tmp_path / "dachub.yaml").unlink()
    found = dachub(noun, "list")
    assert found.code == 1
    assert "There is no platform in" in found.err
    assert "dachub up" in found.err


def test_embedded_database_that_never_started(dachub: Command, data: Path) -> None:
    (data / "dachub.yaml").write_text("")
    found = dachub("user", "list")
    assert (found.code, "[unavailable]" in found.err) == (1, True)
    assert "dachub up" in found.err


def test_database_that_does_not_answer(dachub: Command, data: Path) -> None:
    (data / "dachub.yaml").write_text("database: {url: 'postgresql://u@127.0.0.1:1/d'}\n")
    found = dachub("user", "list")
    assert (found.code, "[unavailable]" in found.err) == (1, True)
    assert "Traceback" not in found.err


def test_database_without_tables(dachub: Command, data: Path, databases: Databases) -> None:
    url = databases.create()
    (data / "dachub.yaml").write_text(yaml.safe_dump({"database": {"url": url}}))
    found = dachub("user", "list")
    assert found.code == 1
    assert "dachub migrate" in found.err
    assert dachub("migrate").code == 0
    assert dachub("user", "list", "--json").json() == []


def test_hostile_names_do_not_reach_the_terminal(dachub: Command) -> None:
    dachub("group", "add", "ztf", "--title", "\x1b[31mred\x07 [bold]x[/bold] \u202eabc")
    shown = dachub("group", "list").out
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert "[bold]" in shown


def test_usage_errors_end_with_2_and_help_with_0(dachub: Command) -> None:
    assert dachub("no-such-noun").code == 2
    assert dachub("user", "show").code == 2
    assert dachub("--help").code == 0
    assert dachub("--version").out.startswith("dachub ")


def test_the_command_does_not_pull_in_the_hub() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, dachub.cli.main; print('jupyterhub' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "False"


def test_in_a_container_the_status_is_what_the_leader_says(
    data: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_CONFIG", str(data / "dachub.yaml"))
    monkeypatch.delenv("DACHUB_DATA", raising=False)
    runner = CliRunner()
    assert runner.invoke(app, ["status"]).exit_code == 1
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into leadership values ('service', gen_random_uuid(), 'dachub-x2', now(),"
            ' now(), \'[{"name": "mails", "succeeded_at": null, "failures": 2}]\')'
        )
    told = runner.invoke(app, ["status"])
    assert told.exit_code == 0
    assert "by dachub-x2 since" in told.stdout
    assert "FAILING: mails" in told.stdout
    with psycopg.connect(database_url) as connection:
        connection.execute("update leadership set seen_at = now() - interval '1 minute'")
    told = runner.invoke(app, ["status"])
    assert told.exit_code == 1
    assert "SILENT since" in told.stdout
