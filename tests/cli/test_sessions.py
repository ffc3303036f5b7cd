"""Commands on sessions, usage and the audit log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
from tests.cli.conftest import Command

from dachub.config import Settings
from dachub.model.sessions import EventKind, SessionDescription, SessionEvent, SessionRecord
from dachub.server.factory import Process


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
