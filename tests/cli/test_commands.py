"""Every noun: what it does, what it prints, and how it fails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import yaml
from tests.cli.conftest import Command
from tests.conftest import Databases
from typer.testing import CliRunner

from dachub.cli.main import app
from dachub.config import Settings
from dachub.model.sessions import EventKind, SessionDescription, SessionEvent, SessionRecord
from dachub.model.storage import Folder, StorageArea, StorageMethod
from dachub.model.usage import Resource
from dachub.server.factory import Process
from dachub.storage.models import Measurement

PASSWORD = "correct horse battery\n"


def test_people(dachub: Command) -> None:
    assert dachub("user", "list", "--json").json() == []
    added = dachub(
        "user", "add", "ada", "--full-name", "Ada", "--email", "ada@example.org",
        "--administrator", "--password-stdin", "--json", stdin=PASSWORD,
    ).json()  # fmt: skip
    assert (added["username"], added["administrator"], added["issuer"]) == ("ada", True, "local")
    assert "ada" in dachub("user", "list").out
    assert [person["username"] for person in dachub("user", "list", "--json").json()] == ["ada"]
    assert dachub("user", "show", "ada", "--json").json()["email"] == "ada@example.org"
    again = dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    assert (again.code, "[conflict]" in again.err) == (1, True)
    disabled = dachub("user", "disable", "ada", "--reason", "left", "--json").json()
    assert disabled["disabled_reason"] == "left"
    assert dachub("user", "enable", "ada", "--json").json()["disabled_at"] is None
    assert (
        dachub("user", "password", "ada", "--password-stdin", stdin="another one here\n").code == 0
    )
    weak = dachub("user", "password", "ada", "--password-stdin", stdin="short\n")
    assert weak.code == 1
    assert "at least" in weak.err
    unknown = dachub("user", "show", "nobody-here")
    assert (unknown.code, "[not-found]" in unknown.err) == (1, True)


def test_no_password_without_a_terminal(dachub: Command) -> None:
    refused = dachub("user", "add", "ada", stdin=PASSWORD)
    assert refused.code == 1
    assert "--password-stdin" in refused.err


def test_passwords_are_not_printed_nor_audited(dachub: Command) -> None:
    outcomes = [
        dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD),
        dachub("user", "show", "ada", "--json"),
        dachub("audit", "--json"),
    ]
    for outcome in outcomes:
        assert "horse" not in outcome.out + outcome.err
        assert "argon2" not in outcome.out + outcome.err


def test_groups(dachub: Command) -> None:
    for name in ("ada", "bob"):
        dachub("user", "add", name, "--password-stdin", stdin=PASSWORD)
    added = dachub("group", "add", "ztf-bright", "--title", "Bright things", "--json").json()
    assert (added["slug"], added["title"]) == ("ztf-bright", "Bright things")
    wrong = dachub("group", "add", "Not A Slug")
    assert (wrong.code, "[invalid-input]" in wrong.err) == (1, True)
    assert dachub("group", "set-pi", "ztf-bright", "ada", "--json").json()["role"] == "pi"
    dachub("group", "add-member", "ztf-bright", "bob", "--role", "manager")
    members = dachub("group", "members", "ztf-bright", "--json").json()
    assert {member["username"]: member["role"] for member in members} == {
        "ada": "pi",
        "bob": "manager",
    }
    assert dachub("group", "show", "ztf-bright", "--json").json()["pis"] == ["ada"]
    assert dachub("group", "remove-member", "ztf-bright", "bob").code == 0
    members = dachub("group", "members", "ztf-bright", "--json").json()
    assert [member["username"] for member in members] == ["ada"]
    history = dachub("group", "members", "ztf-bright", "--history", "--json").json()
    assert {member["username"] for member in history} == {"ada", "bob"}
    assert dachub("group", "show", "none").code == 1
    assert [group["slug"] for group in dachub("group", "list", "--json").json()] == ["ztf-bright"]
    assert dachub("group", "add-member", "ztf-bright", "bob", "--role", "king").code == 2


def test_allocations(dachub: Command) -> None:
    dachub("group", "add", "ztf")
    period = ("--since", "2027-01-01", "--until", "2028-01-01")
    added = dachub(
        "allocation", "add", "ztf", "100.5", *period, "--reason", "call 7", "--json"
    ).json()
    assert added["amount"] == 361_800_000
    assert added["policy"] == "deny"
    assert added["starts_at"].startswith("2027-01-01T00:00:00")
    number = str(added["allocation_id"])
    changed = dachub(
        "allocation", "adjust", number, "-0.5", "--reason", "too much", "--json"
    ).json()
    assert changed["amount"] == 360_000_000
    shown = dachub("allocation", "show", number, "--json").json()
    assert [change["reason"] for change in shown["adjustments"]] == ["call 7", "too much"]
    assert "100.00" in dachub("allocation", "list", "--group", "ztf").out
    assert dachub("allocation", "show", "999").code == 1
    assert dachub("allocation", "add", "ztf", "many", *period, "--reason", "x").code == 1
    assert dachub("allocation", "add", "none", "1", *period, "--reason", "x").code == 1
    assert dachub("allocation", "add", "ztf", "1", "--since", "soon", "--until", "2028-01-01",
                  "--reason", "x").code == 2  # fmt: skip


async def ask(database_url: str) -> None:
    """Two requests of ada's for ztf."""
    process = Process.connect(Settings(), database_url)
    async with process.factory() as services:
        ada = await services.people().principal("ada")
        for amount in (5, 7):
            await services.requests().ask(
                ada, group="ztf", resource=Resource.CORE_HOURS, amount=amount, reason="more sky"
            )
    await process.close()


def test_an_allocation_tells_why_it_is_what_it_is(dachub: Command) -> None:
    dachub("group", "add", "lenses")
    number = dachub(
        "allocation", "add", "lenses", "100", "--since", "2026-10-01", "--until", "2027-01-01",
        "--reason", "award 17", "--json",
    ).json()["allocation_id"]  # fmt: skip
    dachub("allocation", "adjust", str(number), "-20", "--reason", "shared with coma")
    dachub("allocation", "extend", str(number), "--until", "2027-02-01", "--reason", "no cost")
    changed = dachub(
        "allocation", "policy", str(number), "--policy", "stop", "--grace-percent", "5",
        "--warn-at", "50", "--reason", "soft landing", "--json",
    ).json()  # fmt: skip
    assert (changed["policy"], changed["rules"]["warn_at_percent"]) == ("stop", [50])
    assert changed["rules"]["stop_notice_seconds"] == 900  # the site's
    shown = dachub("allocation", "show", str(number)).out
    for said in ("award 17", "-20.00", "until 2027-02-01 00:00", "policy stop", "soft landing"):
        assert said in shown
    wrong = dachub("allocation", "policy", str(number), "--warn-at", "0", "--reason", "x")
    assert (wrong.code, "warn_at_percent" in wrong.err) == (1, True)
    nothing = dachub("allocation", "show", "999")
    assert (nothing.code, "[not-found]" in nothing.err) == (1, True)


def test_cores_at_once_are_limited_and_shown(dachub: Command) -> None:
    dachub("group", "add", "lenses")
    assert dachub("cores", "limit", "200", "--reason", "the new rack").code == 0
    made = dachub(
        "cores", "limit", "16.5", "--group", "lenses", "--reason", "a course", "--json"
    ).json()
    assert (made["group"], made["milli_cores"]) == ("lenses", 16_500)
    shown = dachub("cores", "show").out
    for said in ("the site", "200 cores", "lenses", "16.5 cores"):
        assert said in shown
    assert "Nobody waits." in dachub("cores", "queue").out
    assert dachub("cores", "lift", "--group", "lenses", "--reason", "over").code == 0
    history = dachub("cores", "history", "--group", "lenses").out
    assert history.index("as configured") < history.index("16.5 cores")
    assert dachub("cores", "show", "--json").json()["site"]["limit_milli_cores"] == 200_000
    wrong = dachub("cores", "limit", "some", "--reason", "x")
    assert (wrong.code, "[invalid-amount]" in wrong.err) == (1, True)
    nowhere = dachub("cores", "limit", "5", "--group", "nowhere", "--reason", "x")
    assert (nowhere.code, "[not-found]" in nowhere.err) == (1, True)


def test_recurring_allocations_limits_and_forecasts(dachub: Command) -> None:
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add", "lenses")
    dachub("group", "set-pi", "lenses", "ada")
    series = dachub(
        "allocation", "series", "add", "lenses", "500", "--every", "quarter",
        "--carry-over-percent", "20", "--reason", "award 17", "--json",
    ).json()  # fmt: skip
    assert (series["every"], series["carry_over_percent"]) == ("quarter", 20)
    assert len(dachub("allocation", "list", "--json").json()) == 2
    assert "award 17" in dachub("allocation", "series", "list", "--group", "lenses").out
    (balance,) = dachub("allocation", "forecast", "lenses", "--json").json()
    assert (balance["resource"], balance["left"]) == ("core-hours", 500 * 3_600_000)
    assert "core-hours" in dachub("allocation", "forecast", "lenses").out
    limit = ("group", "limit")
    dachub(*limit, "set", "lenses", "ada", "20", "--reason", "fair share")
    (shown,) = dachub(*limit, "list", "lenses", "--json").json()
    assert (shown["username"], shown["limit"], shown["used"]) == ("ada", 20 * 3_600_000, 0)
    dachub(*limit, "lift", "lenses", "ada", "--reason", "others are done")
    assert "No member has a limit" in dachub(*limit, "list", "lenses").out
    assert "lifted" in dachub(*limit, "history", "lenses").out
    ended = dachub(
        "allocation", "series", "end", str(series["series_id"]), "--reason", "over", "--json"
    ).json()
    assert ended["end_reason"] == "over"
    assert "no doubt" in dachub("allocation", "trust", "--reason", "NTP works").out


def test_requests(dachub: Command, database_url: str) -> None:
    dachub("group", "add", "ztf")
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add-member", "ztf", "ada")
    assert "No requests." in dachub("request", "list").out
    asyncio.run(ask(database_url))
    second, first = dachub("request", "list", "--json").json()
    number = str(first["request_id"])
    assert "more sky" in dachub("request", "list").out
    without = dachub("request", "grant", number)
    assert (without.code, "[no-allocation-in-force]" in without.err) == (1, True)
    period = ("--since", "2020-01-01", "--until", "2199-01-01")
    granted = dachub("request", "grant", number, "--amount", "4.5", *period, "--json").json()
    assert (granted["state"], granted["granted"]) == ("granted", 4.5 * 3_600_000)
    again = dachub("request", "decline", number, "--reason", "no")
    assert (again.code, "[request-decided]" in again.err) == (1, True)
    other = str(second["request_id"])
    declined = dachub("request", "decline", other, "--reason", "nothing left", "--json").json()
    assert declined["decision_reason"] == "nothing left"
    assert dachub("request", "list", "--state", "open", "--json").json() == []
    assert "nothing left" in dachub("request", "show", other).out
    assert dachub("request", "show", "999").code == 1


async def charge(database_url: str) -> SessionEvent:
    """Half an hour of two cores, over by now."""
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    start = end - timedelta(minutes=30)
    session = SessionDescription(
        session_id=uuid4(), username="ada", group="ztf", size="small", environment="test",
        milli_cores=2000, memory_bytes=1024**3, requested_at=start,
    )  # fmt: skip
    events = [
        SessionEvent(
            event_id=uuid4(), kind=EventKind.STARTED, session=session, at=start, started_at=start
        ),
        SessionEvent(
            event_id=uuid4(), kind=EventKind.STOPPED, session=session, at=end, started_at=start,
            end_reason="stopped",
        ),
    ]  # fmt: skip
    process = Process.connect(Settings(), database_url)
    async with process.factory() as factory:
        await factory.ledger().apply(events)
    await process.close()
    return events[0]


def test_sessions_and_usage(dachub: Command, database_url: str) -> None:
    event = asyncio.run(charge(database_url))
    [session] = dachub("session", "list", "--json").json()
    assert set(session) == set(SessionRecord.model_fields)
    assert (session["username"], session["group"], session["core_seconds"]) == (
        "ada",
        "ztf",
        3600.0,
    )
    identifier = str(event.session.session_id)
    assert dachub("session", "show", identifier, "--json").json() == session
    assert identifier in dachub("session", "show", identifier).out
    assert dachub("session", "list", "--user", "bob", "--json").json() == []
    assert dachub("session", "list", "--state", "running", "--json").json() == []
    assert dachub("session", "show", str(uuid4())).code == 1
    assert dachub("session", "show", "rubbish").code == 2
    since = ("--since", (datetime.now(UTC) - timedelta(days=2)).isoformat())
    report = dachub("usage", *since, "--by", "user", "--by", "group", "--json").json()
    assert report["total"]["milli_core_seconds"] == 3_600_000
    assert [(row["username"], row["group"]) for row in report["rows"]] == [("ada", "ztf")]
    assert "1.0000 core-hours" in dachub("usage", *since).out
    assert "ada" in dachub("usage", *since, "--by", "user").out
    assert dachub("usage", "--since", "2027-01-02", "--until", "2027-01-01").code == 1
    assert dachub("usage", "--since", "yesterday").code == 2
    assert dachub("usage", "check").code == 0
    assert dachub("usage", "rebuild").code == 0
    assert dachub("usage", "check").code == 0


def test_what_goes_wrong_is_told_on_standard_error_only(dachub: Command, database_url: str) -> None:
    asyncio.run(charge(database_url))
    with psycopg.connect(database_url) as connection:
        connection.execute("delete from usage_day")
    checked = dachub("usage", "check")
    assert (checked.code, checked.out) == (1, "")
    assert "the sums of usage differ" in checked.err
    assert "dachub usage rebuild" in checked.err


def test_sessions_are_corrected_with_a_reason(dachub: Command, database_url: str) -> None:
    event = asyncio.run(charge(database_url))
    identifier = str(event.session.session_id)
    reason = ("--reason", "the node had failed")
    assert dachub("session", "void", identifier).code == 2
    assert dachub("session", "corrections", identifier).out == "It was never corrected.\n"
    void = dachub("session", "void", identifier, *reason, "--json").json()
    assert (void["core_seconds"], void["correction"]["action"]) == (0.0, "void")
    again = dachub("session", "void", identifier, *reason)
    assert (again.code, "[correction-changes-nothing]" in again.err) == (1, True)
    end = event.at + timedelta(minutes=10)
    amended = dachub(
        "session", "amend", identifier, "--end", end.isoformat(), *reason, "--json"
    ).json()
    assert amended["core_seconds"] == 1200.0
    assert dachub("session", "amend", identifier, *reason).code == 1
    assert reason[1] in dachub("session", "show", identifier).out
    restored = dachub("session", "restore", identifier, *reason, "--json").json()
    assert restored["core_seconds"] == 3600.0
    history = dachub("session", "corrections", identifier, "--json").json()
    assert [each["action"] for each in history] == ["void", "amend", "restore"]
    assert all(each["author"].startswith("operator:") for each in history)
    assert "amend" in dachub("session", "corrections", identifier).out
    assert dachub("usage", "check").code == 0


def test_audit(dachub: Command) -> None:
    dachub("group", "add", "ztf")
    dachub("group", "add", "lsst")
    entries = dachub("audit", "--json").json()
    assert [entry["group"] for entry in entries] == ["lsst", "ztf"]
    assert {entry["action"] for entry in entries} == {"group-added"}
    assert all(entry["actor"].startswith("operator:") for entry in entries)
    older = dachub("audit", "--before", str(entries[0]["audit_id"]), "--json").json()
    assert [entry["group"] for entry in older] == ["ztf"]
    assert dachub("audit", "--group", "none", "--json").json() == []
    assert "lsst" in dachub("audit").out


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


def test_storage(dachub: Command, data: Path, database_url: str) -> None:
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add", "ztf-bright")
    assert "Nothing was measured yet" in dachub("storage", "list").out
    set_to = dachub(
        "storage", "quota", "ada", "--bytes", "50GiB", "--files", "9", "--reason", "maps", "--json"
    ).json()
    assert (set_to["bytes"], set_to["files"]) == (50 * 1024**3, 9)
    assert dachub("storage", "show", "ada", "--json").json()["limit_bytes"] == 50 * 1024**3
    assert "maps" in dachub("storage", "quota", "ada").out
    for wrong, code in (
        (("quota", "ada", "--bytes", "50GiB"), "invalid-input"),
        (("quota", "ada", "--bytes", "much", "--reason", "x"), "invalid-input"),
        (("quota", "ztf-bright", "--group", "--bytes", "1", "--reason", "x"), "invalid-input"),
        (("quota", "nobody-here", "--reason", "x"), "not-found"),
        (("sample", "ada"), "storage-not-measured"),
    ):
        refused = dachub("storage", *wrong)
        assert (refused.code, f"[{code}]" in refused.err) == (1, True), refused

    async def measure() -> None:
        process = Process.connect(Settings(), database_url)
        measured = Measurement(
            method=StorageMethod.WALK, bytes=5, allocated_bytes=4096, files=2,
            largest=[Folder(path="data", allocated_bytes=4096, files=1)],
        )  # fmt: skip
        async with process.factory() as factory:
            await factory.storage().record(StorageArea.HOME, "ada", measured)
        await process.close()

    asyncio.run(measure())
    assert "4.1 kB" in dachub("storage", "list").out
    assert "data 4.1 kB" in dachub("storage", "show", "ada").out
    (sample,) = dachub("storage", "history", "ada", "--json").json()
    assert (sample["bytes"], sample["allocated_bytes"], sample["files"]) == (5, 4096, 2)
    assert "[resampled-just-now]" in dachub("storage", "sample", "ada").err


def test_a_person_is_forgotten_and_their_data_exported(dachub: Command, tmp_path: Path) -> None:
    dachub("user", "add", "zora", "--password-stdin", stdin="correct horse battery\n")
    archive = tmp_path / "zora.zip"
    assert "zora.zip" in dachub("user", "export-data", "zora", "--output", str(archive)).out
    assert archive.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(archive) as opened:
        assert {"README.txt", "person.json", "audit.json"} <= set(opened.namelist())
    nowhere = dachub("user", "export-data", "zora", "--output", str(tmp_path / "no" / "where.zip"))
    assert nowhere.code == 1
    assert "cannot be written" in nowhere.err
    asked = dachub("user", "forget", "zora", "--reason", "asked by mail")
    assert asked.code == 0, asked.err
    assert "within a minute" in asked.out
    assert "home directory" in asked.out
    again = dachub("user", "forget", "zora", "--reason", "asked by mail", "--json")
    assert "being forgotten already" in again.err
    assert "being forgotten" in dachub("user", "enable", "zora").err


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
