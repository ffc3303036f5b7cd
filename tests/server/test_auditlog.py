"""The audit log is told to who ships logs: each entry, and those of the last hour to a newcomer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.server.world import OPERATOR

from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.logs import LOG_FIELDS
from dachub.server.auditlog import tell_audit
from dachub.server.factory import AuditTold, Process
from dachub.server.hubapi import HubAPI


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> Process:
    return Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)


async def note(process: Process, action: str, **more: str) -> None:
    async with process.factory() as services:
        await services.audit().record(OPERATOR, action, **more)


async def told(process: Process) -> list[dict[str, object]]:
    with capture_logs() as lines:
        await tell_audit(process)
    return [dict(line) for line in lines]


async def test_each_entry_is_told_once_with_what_was_done_by_whom(
    process: Process, clock: HeldClock
) -> None:
    await note(process, "member-added", username="ada", group="virgo", role="pi")
    (line,) = await told(process)
    assert line["event.action"] == "member-added"
    assert (line["user.name"], line["user.target.name"]) == (OPERATOR.name, "ada")
    assert line["group.name"] == "virgo"
    assert line["dachub.details"] == {"role": "pi"}
    assert line["event.outcome"] == "success"
    ours = {name for name in line if name not in {"event", "log_level", "dachub.details"}}
    assert ours <= LOG_FIELDS.keys()
    clock.advance(timedelta(seconds=10))
    await note(process, "login-refused", username="bob")
    (line,) = await told(process)
    assert (line["user.name"], line["event.outcome"]) == ("bob", "failure")
    assert await told(process) == []
    # Who takes over tells of the last hour again, under the same numbers; the index has them once.
    process.audit_told = AuditTold()
    assert [line["event.id"] for line in await told(process)] == ["1", "2"]
    await process.close()


async def test_what_is_committed_late_or_while_the_clock_was_ahead_is_told(
    process: Process, clock: HeldClock
) -> None:
    assert await told(process) == []
    clock.advance(timedelta(hours=5))
    assert await told(process) == []
    clock.advance(timedelta(hours=-5))
    await note(process, "group-added", group="coma")
    assert len(await told(process)) == 1
    await process.close()
