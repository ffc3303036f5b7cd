"""Exports: each session once when final, whole files or none, and what became of what was sent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from tests.reports.conftest import OPERATOR, ApelServer, ran, session_id, utc

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.exports import ExportFormat, ExportOutcome
from dachub.model.problems import PermissionDenied
from dachub.model.sessions import SessionEvent
from dachub.reports.formats import apel, slurm
from dachub.reports.models import (
    ExportDisagrees,
    ExportRunning,
    ExportUnfinished,
    OutputExists,
    OutputFailed,
)
from dachub.reports.services import Output
from dachub.server.exporting import export
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

JOBS, CLOUD = ExportFormat.XDMOD_JOBS, ExportFormat.APEL_CLOUD
FEBRUARY = (utc(2027, 2, 1), utc(2027, 3, 1))
MARCH = (utc(2027, 3, 1), utc(2027, 4, 1))
NOW = utc(2027, 3, 10, 12)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(NOW)


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> AsyncIterator[Process]:
    made = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    yield made
    await made.close()


async def tell(process: Process, *histories: list[SessionEvent]) -> None:
    async with process.factory() as services:
        receipt = await services.ledger().apply([one for told in histories for one in told])
        assert receipt.refused == []


def jobs(outcome: ExportOutcome) -> list[slurm.Job]:
    assert outcome.run is not None
    (file,) = outcome.run.files
    text = (Path(outcome.run.destination) / file.name).read_text()
    return [slurm.read_line(line) for line in text.splitlines()]


def messages(outcome: ExportOutcome) -> list[bytes]:
    if outcome.run is None:
        return []
    return [(Path(outcome.run.destination) / file.name).read_bytes() for file in outcome.run.files]


async def test_jobs_of_a_period_go_once_and_agree_with_the_portal(
    process: Process, tmp_path: Path
) -> None:
    await tell(
        process,
        ran("inside", utc(2027, 2, 3), utc(2027, 2, 3, 10), milli_cores=1500),
        ran("from-before", utc(2027, 1, 31, 23), utc(2027, 2, 1, 1), username="grace"),
        ran("to-the-very-end", utc(2027, 2, 28, 23), utc(2027, 3, 1)),
        ran("into-march", utc(2027, 2, 28, 22), utc(2027, 3, 1, 1)),
        ran("on", utc(2027, 2, 28, 12)),
        ran("january", utc(2027, 1, 5), utc(2027, 1, 6)),
        ran("nothing", utc(2027, 2, 5), utc(2027, 2, 5)),
    )
    first = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert sorted((job.user, job.seconds, job.cores) for job in jobs(first)) == [
        ("ada", 3600, 1),
        ("ada", 36000, 2),
        ("grace", 7200, 1),
    ]
    assert first.run is not None
    assert first.run.milli_core_seconds == (36000 * 3 // 2 + 7200 + 3600) * 1000
    assert first.run.exported_milli_core_seconds == (36000 * 2 + 7200 + 3600) * 1000
    steps = [step.milli_core_seconds for step in first.reconciliation]
    async with process.factory() as services:
        used = await services.usage().report(OPERATOR, since=FEBRUARY[0], until=FEBRUARY[1])
    assert steps[0] == used.total.milli_core_seconds
    assert sum(steps[:5]) == steps[5] == first.run.milli_core_seconds
    assert steps[5] + steps[6] == steps[7] == first.run.exported_milli_core_seconds
    again = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert (again.run, again.sent_before) == (None, 3)
    march = await export(process, OPERATOR, JOBS, Output(tmp_path), *MARCH)
    assert [job.seconds for job in jobs(march)] == [3 * 3600]


async def test_only_what_is_final_goes_and_the_rest_later(
    process: Process, tmp_path: Path, clock: HeldClock
) -> None:
    await tell(
        process,
        ran("yesterday", NOW - timedelta(hours=30), NOW - timedelta(hours=25)),
        ran("today", NOW - timedelta(hours=30), NOW - timedelta(hours=23)),
    )
    early = await export(process, OPERATOR, JOBS, Output(tmp_path), *MARCH)
    assert ([job.seconds for job in jobs(early)], early.not_final) == ([5 * 3600], 1)
    assert "may still change" in early.notes[0]
    clock.advance(timedelta(days=2))
    late = await export(process, OPERATOR, JOBS, Output(tmp_path), *MARCH)
    assert ([job.seconds for job in jobs(late)], late.not_final) == ([7 * 3600], 0)


async def test_a_session_that_became_known_late_is_not_forgotten(
    process: Process, tmp_path: Path
) -> None:
    await tell(process, ran("known", utc(2027, 2, 3), utc(2027, 2, 4)))
    await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    await tell(process, ran("late", utc(2027, 2, 5), utc(2027, 2, 6)))
    march = await export(process, OPERATOR, JOBS, Output(tmp_path), *MARCH)
    assert march.run is None
    assert "1 sessions that ended in the 92 days before were never sent" in march.notes[0]
    late = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert [job.seconds for job in jobs(late)] == [86400]


async def test_what_changed_after_it_was_sent_is_told_not_sent_again(
    process: Process, tmp_path: Path
) -> None:
    await tell(
        process,
        ran("voided", utc(2027, 2, 3), utc(2027, 2, 4)),
        ran("kept", utc(2027, 2, 3), utc(2027, 2, 4)),
        ran("estimate", utc(2027, 2, 3), utc(2027, 2, 4), estimate=True),
        ran("void before", utc(2027, 2, 7), utc(2027, 2, 8)),
    )
    async with process.factory() as services:
        await services.corrections().void(OPERATOR, session_id("void before"), "a test")
    sent = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert len(jobs(sent)) == 3
    async with process.factory() as services:
        await services.corrections().void(OPERATOR, session_id("voided"), "a test")
    await tell(process, ran("estimate", utc(2027, 2, 3), utc(2027, 2, 3, 12)))
    again = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert again.run is None
    async with process.factory() as services:
        found = await services.exports().differences(OPERATOR, *FEBRUARY)
    assert [(one.reason, one.milli_core_seconds) for one in found] == [
        ("voided by operator:tests: a test", 0),
        ("its end became known exactly", 12 * 3_600_000),
    ]


async def test_months_at_apel_are_those_of_the_ledger_also_after_corrections(
    process: Process, tmp_path: Path
) -> None:
    server = ApelServer()

    async def send(since: object, until: object) -> ExportOutcome:
        outcome = await export(process, OPERATOR, CLOUD, Output(tmp_path), since, until)  # type: ignore[arg-type]
        server.load(messages(outcome))
        return outcome

    await tell(
        process,
        ran("long", utc(2027, 1, 31, 22), utc(2027, 3, 1, 1)),
        ran("runs", utc(2027, 2, 28, 20)),
        ran("ends-at-midnight", utc(2027, 2, 28, 12), utc(2027, 3, 1)),
        ran("voided", utc(2027, 2, 3), utc(2027, 2, 4)),
    )
    await send(*FEBRUARY)
    await send(*MARCH)
    expected = {
        (str(session_id("long")), (2027, 1)): 2 * 3600,
        (str(session_id("long")), (2027, 2)): 28 * 86400,
        (str(session_id("long")), (2027, 3)): 3600,
        (str(session_id("runs")), (2027, 2)): 4 * 3600,
        (str(session_id("ends-at-midnight")), (2027, 2)): 12 * 3600,
        (str(session_id("voided")), (2027, 2)): 86400,
    }
    assert server.wall_seconds() == expected
    nothing = await send(*MARCH)
    assert nothing.run is None
    async with process.factory() as services:
        corrections = services.corrections()
        await corrections.void(OPERATOR, session_id("voided"), "a test")
        await corrections.amend(
            OPERATOR, session_id("long"), ended_at=utc(2027, 2, 10), reason="a test"
        )
    outcome = await send(*MARCH)
    assert outcome.sent_before == 3
    assert outcome.run is not None
    assert outcome.run.milli_core_seconds == -(86400 + 19 * 86400 + 3600) * 1000
    del expected[str(session_id("voided")), (2027, 2)], expected[str(session_id("long")), (2027, 3)]
    expected[str(session_id("long")), (2027, 2)] = 9 * 86400
    assert server.wall_seconds() == expected
    async with process.factory() as services:
        for name in ("voided", "long"):
            await services.corrections().restore(OPERATOR, session_id(name), "a test")
    await send(*MARCH)
    expected |= {
        (str(session_id("voided")), (2027, 2)): 86400,
        (str(session_id("long")), (2027, 2)): 28 * 86400,
        (str(session_id("long")), (2027, 3)): 3600,
    }
    assert server.wall_seconds() == expected


async def test_what_is_read_some_at_a_time_makes_one_file(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number}" for number in range(8)]
    await tell(process, *(ran(name, utc(2027, 2, 3), utc(2027, 2, 4)) for name in names))
    monkeypatch.setattr("dachub.accounting.store.sessions.AT_ONCE", 3)
    monkeypatch.setattr("dachub.reports.store.exports.AT_ONCE", 3)
    outcome = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert len({job.job_id for job in jobs(outcome)}) == 8
    assert outcome.run is not None
    (file,) = outcome.run.files
    content = (tmp_path / file.name).read_bytes()
    assert (file.size_bytes, file.sha256) == (len(content), sha256(content).hexdigest())
    async with process.engine.connect() as connection:
        kept = await connection.exec_driver_sql("select count(*) from export_part")
        assert kept.scalar() == 0
    async with process.factory() as services:
        for name in names[:5]:
            await services.corrections().void(OPERATOR, session_id(name), "a test")
        assert len(await services.exports().differences(OPERATOR, *FEBRUARY)) == 5
    again = await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert (again.run, again.sent_before) == (None, 3)


async def test_a_file_of_another_name_is_not_overwritten(process: Process, tmp_path: Path) -> None:
    await tell(process, ran("one", utc(2027, 2, 3), utc(2027, 2, 4)))
    (tmp_path / "jobs.log").write_text("precious\n")
    with pytest.raises(OutputExists):
        await export(process, OPERATOR, JOBS, Output(tmp_path, "jobs.log"), *FEBRUARY)
    assert os.listdir(tmp_path) == ["jobs.log"]  # noqa: PTH208
    assert (tmp_path / "jobs.log").read_text() == "precious\n"
    with pytest.raises(ExportUnfinished, match="--since 2027-02-01T00:00"):
        await export(process, OPERATOR, JOBS, Output(tmp_path), *MARCH)
    done = await export(process, OPERATOR, JOBS, Output(tmp_path, "other.log"), *FEBRUARY)
    assert done.finished_earlier_run
    assert len(jobs(done)) == 1
    async with process.factory() as services:
        (run,) = await services.exports().list(OPERATOR)
    assert (run.state, run.files[0].name) == ("done", "other.log")


async def test_a_directory_that_cannot_be_written_leaves_nothing(
    process: Process, tmp_path: Path
) -> None:
    await tell(process, ran("one", utc(2027, 2, 3), utc(2027, 2, 4)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFailed, match="repeat the command"):
        await export(process, OPERATOR, JOBS, Output(tmp_path / "file" / "below"), *FEBRUARY)
    done = await export(process, OPERATOR, JOBS, Output(tmp_path / "new" / "deep"), *FEBRUARY)
    assert done.finished_earlier_run
    assert len(jobs(done)) == 1


async def test_two_exports_at_once_are_one(process: Process, tmp_path: Path) -> None:
    async with process.alone("export") as alone:
        assert alone
        with pytest.raises(ExportRunning):
            await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)


async def test_a_ledger_that_contradicts_itself_is_not_exported(
    process: Process, tmp_path: Path
) -> None:
    await tell(process, ran("one", utc(2027, 2, 3), utc(2027, 2, 4)))
    async with process.engine.begin() as connection:
        for sums in ("usage_day", "usage_month", "usage_group_day"):
            await connection.exec_driver_sql(f"update {sums} set milli_core_seconds = 1")
    with pytest.raises(ExportDisagrees, match="usage check"):
        await export(process, OPERATOR, JOBS, Output(tmp_path), *FEBRUARY)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_session_whose_cores_changed_counts_with_each_stretch(
    process: Process, tmp_path: Path
) -> None:
    await tell(process, ran("cluster", utc(2027, 1, 31, 22), utc(2027, 2, 1, 2)))
    async with process.engine.begin() as connection:
        await connection.exec_driver_sql("update segment set ended_at = '2027-01-31 23:00Z'")
        await connection.exec_driver_sql(
            "insert into segment (session_id, started_at, ended_at, counted_to, milli_cores,"
            " memory_bytes, gpus) select session_id, ended_at, '2027-02-01 02:00Z',"
            " '2027-02-01 02:00Z', 7000, 1, 0 from segment"
        )
        await connection.exec_driver_sql("update segment set counted_to = ended_at")
    async with process.factory() as services:
        await services.ledger().rebuild_usage_days()
    (job,) = jobs(await export(process, OPERATOR, JOBS, Output(tmp_path / "jobs"), *FEBRUARY))
    assert (job.seconds, job.cores) == (4 * 3600, 6)  # 5.5 on average
    outcome = await export(process, OPERATOR, CLOUD, Output(tmp_path / "cloud"), *FEBRUARY)
    assert outcome.run is not None
    assert outcome.run.milli_core_seconds == 22 * 3_600_000
    records = [one for message in messages(outcome) for one in apel.read_message(message)]
    assert [(one.month[1], one.wall_seconds, one.cpu_seconds) for one in records] == [
        (1, 2 * 3600, 8 * 3600),
        (2, 4 * 3600, 22 * 3600),
    ]


async def test_names_and_hierarchy(process: Process, tmp_path: Path) -> None:
    async with process.factory() as services:
        await services.accounts().add(
            OPERATOR, "ada", full_name="Ada Lovelace", password="correct horse battery"
        )
        await services.groups().create(OPERATOR, "lensing", 'Weak "lensing", all sky')
        await services.groups().set_pi(OPERATOR, "lensing", "ada")
    await export(process, OPERATOR, ExportFormat.XDMOD_NAMES, Output(tmp_path, "names.csv"))
    await export(process, OPERATOR, ExportFormat.XDMOD_HIERARCHY, Output(tmp_path, "hierarchy.csv"))
    assert (tmp_path / "names.csv").read_text() == (
        'ada,Ada,Lovelace\nlensing,,"Weak ""lensing"", all sky"\n'
    )
    assert (tmp_path / "hierarchy.csv").read_text() == (
        "site:dachub,dachub,\ninstitution:unknown,unknown,site:dachub\n"
        'group:lensing,"Weak ""lensing"", all sky",institution:unknown\n'
    )
    assert (tmp_path / "group-to-hierarchy.csv").read_text() == "lensing,group:lensing\n"


async def test_only_administrators_export(process: Process, tmp_path: Path) -> None:
    somebody = Principal("ada", PrincipalKind.PERSON)
    for export_format in ExportFormat:
        with pytest.raises(PermissionDenied):
            await export(process, somebody, export_format, Output(tmp_path), *FEBRUARY)
    async with process.factory() as services:
        with pytest.raises(PermissionDenied):
            await services.exports().list(somebody)
        with pytest.raises(PermissionDenied):
            await services.exports().differences(somebody, *FEBRUARY)
