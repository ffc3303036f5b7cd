"""What the consumers would lose, refuse or misread is never written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reports.conftest import each

from dachub.accounting.models import ChargedSession, Segment
from dachub.model.names import USERNAME_MAX
from dachub.model.people import Person
from dachub.model.sessions import EndReason
from dachub.reports.formats import apel, slurm
from dachub.reports.formats.tables import csv_text, name_row
from dachub.reports.formats.text import XDMOD_NAME_MAX, xdmod_name
from dachub.reports.models import InvalidRecord, Item
from dachub.reports.settings import ReportSettings

START = datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
SESSION = ChargedSession(
    session_id=UUID(int=7),
    export_id=42,
    username="ada",
    group="lensing",
    kind="notebook",
    server_name="fits | 100%% %% hot",
    size="small",
    environment="astronomy",
    milli_cores=1500,
    memory_bytes=2**31 + 1,
    gpus=0,
    requested_at=START - timedelta(seconds=30),
    end_reason=EndReason.STOPPED,
    segments=[Segment(START, START + timedelta(days=1, hours=2, seconds=3), 1500)],
)
LINE = slurm.job_line(SESSION, SESSION.segments[0], "dac")
GOOD = dict(zip(slurm.FIELDS, LINE.split("|", 25), strict=True))


def test_a_job_s_line_is_what_sacct_would_print() -> None:
    assert LINE == (
        "42|42|dac|small|notebook|lensing|lensing|65534|ada|65534|2027-01-31T22:59:30|"
        "2027-01-31T22:59:30|2027-01-31T23:00:00|2027-02-02T01:00:03|1-02:00:03|0:0|COMPLETED|1|2|2|"
        "2049Mn||cpu=2,mem=2049M,node=1|00:00:00|dac|fits | 100%% %% hot"
    )
    job = slurm.read_line(LINE)
    assert (job.job_id, job.user, job.account, job.cores) == (42, "ada", "lensing", 2)
    assert job.core_seconds == 2 * (26 * 3600 + 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("jobid", "0"),
        ("jobid", "2147483648"),
        ("jobid", "00000000-0000-0000-0000-000000000007"),
        ("jobid", "42.batch"),
        ("jobid", "4_2"),
        ("jobid", "４２"),
        ("jobidraw", "43"),
        ("cluster", ""),
        ("cluster", "a-name-of-more-than-20"),
        ("partition", ""),
        ("partition", "two words"),
        ("account", "grüppe"),
        ("account", "x" * 21),
        ("user", ""),
        ("uid", "ada"),
        ("submit", "2027-01-31T22:59:30Z"),
        ("submit", "2027-01-31T22:59:30+00:00"),
        ("submit", "2027-01-31 22:59:30"),
        ("submit", "2027-01-31T23:00:01"),
        ("eligible", "Unknown"),
        ("start", "2027-01-31T23:00:00.5"),
        ("start", "2027-02-30T23:00:00"),
        ("end", "Unknown"),
        ("end", "2027-01-31T22:00:00"),
        ("elapsed", "1-02:00:04"),
        ("elapsed", "26:00:63"),
        ("elapsed", "93603"),
        ("state", "RUNNING"),
        ("state", "completed"),
        ("nnodes", "0"),
        ("ncpus", "1.5"),
        ("ncpus", "0"),
        ("ncpus", "-1"),
        ("ncpus", "3"),
        ("alloctres", ""),
        ("alloctres", "cpu=2,mem=2049M,node=1,gres/gpu=0"),
        ("timelimit", "UNLIMITED"),
        ("nodelist", "None assigned"),
        ("jobname", ""),
        ("jobname", "two\nlines"),
        ("jobname", "tab\tbed"),
    ],
)
def test_a_wrong_line_is_refused_by_its_field(field: str, value: str) -> None:
    line = "|".join({**GOOD, field: value}.values())
    with pytest.raises(InvalidRecord):
        slurm.read_line(line)


def test_a_line_with_too_few_fields_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="25 fields"):
        slurm.read_line("|".join(list(GOOD.values())[:25]))


@pytest.mark.parametrize(
    ("milli_cores", "cores"),
    [(0, 1), (1, 1), (250, 1), (1000, 1), (1499, 1), (1500, 2), (2499, 2), (4000, 4)],
)
def test_cores_are_the_nearest_whole_ones_and_at_least_one(milli_cores: int, cores: int) -> None:
    assert slurm.whole_cores(milli_cores) == cores


def test_gpus_are_told_by_what_was_allocated() -> None:
    line = slurm.job_line(replace(SESSION, gpus=2), SESSION.segments[0], "dac")
    assert "node=1,gres/gpu=2|" in line
    slurm.read_line(line)


sessions = st.builds(
    lambda name, size, milli_cores, gpus, wait, length, reason: replace(
        SESSION,
        server_name=name,
        size=size,
        milli_cores=milli_cores,
        gpus=gpus,
        requested_at=START - timedelta(seconds=wait),
        end_reason=reason,
        segments=[Segment(START, START + timedelta(seconds=length), milli_cores)],
    ),
    st.text(max_size=300),
    st.text(max_size=63),
    st.integers(0, 2_000_000),
    st.integers(0, 8),
    st.integers(0, 10**6),
    st.integers(0, 10**8),
    st.sampled_from(EndReason),
)


@given(sessions)
def test_any_session_makes_a_line_that_is_read_as_it_is_meant(session: ChargedSession) -> None:
    (segment,) = session.segments
    job = slurm.read_line(slurm.job_line(session, segment, "dac"))
    assert segment.ended_at == START + timedelta(seconds=job.seconds)
    assert abs(job.cores * 1000 - session.milli_cores) <= max(500, 1000 - session.milli_cores)


# --- APEL ---------------------------------------------------------------------------------------


def item(status: str = "completed", measured_at: datetime | None = None) -> Item:
    at = measured_at or START + timedelta(hours=26, seconds=3)
    return Item(
        session_id=SESSION.session_id,
        month=date(2027, 2, 1),
        status=status,
        started_at=START,
        measured_at=at,
        seconds=int((at - START).total_seconds()),
        milli_core_seconds=int((at - START).total_seconds()) * 1500,
        sha256="",
    )


SETTINGS = ReportSettings(apel_site="UKI-DAC", apel_vo="survey")
RECORD = apel.cloud_record(SESSION, item(), SETTINGS)


def test_a_cloud_record_says_exactly_what_was_used() -> None:
    assert RECORD == (
        "RecordCreateTime: 1801530003\n"
        "VMUUID: 00000000-0000-0000-0000-000000000007\n"
        "SiteName: UKI-DAC\nCloudComputeService: dachub\nMachineName: fits | 100__ __ hot\n"
        "LocalUserId: ada\nLocalGroupId: lensing\nGlobalUserName: ada\n"
        "FQAN: /survey/lensing/Role=NULL/Capability=NULL\nStatus: completed\n"
        "StartTime: 1801436400\nEndTime: 1801530003\nWallDuration: 93603\nCpuDuration: 140404\n"
        "CpuCount: 1.500\nMemory: 2049\nImageId: astronomy\nCloudType: dachub\n"
    )
    measured = apel.read_record(RECORD)
    assert (measured.month, measured.wall_seconds) == ((2027, 2), 93603)
    assert measured.cores == Decimal("1.5")


def test_a_session_that_runs_on_is_measured_at_the_month_s_last_second() -> None:
    text = apel.cloud_record(SESSION, item("started", datetime(2027, 2, 1, tzinfo=UTC)), SETTINGS)
    assert "RecordCreateTime: 1801439999\n" in text
    assert "EndTime" not in text
    measured = apel.read_record(text)
    assert (measured.month, measured.wall_seconds) == ((2027, 1), 3600)


def test_people_need_not_be_named() -> None:
    text = apel.cloud_record(SESSION, item(), ReportSettings(apel_usernames=False))
    assert "ada" not in text
    assert apel.read_record(text).user == apel.WITHHELD


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("VMUUID: 00000000-0000-0000-0000-000000000007", "VMUUID: 7"),
        ("VMUUID: 00000000-0000-0000-0000-000000000007\n", ""),
        ("SiteName: UKI-DAC", "SiteName: None"),
        ("SiteName: UKI-DAC", "SiteName: null"),
        ("SiteName: UKI-DAC", "Sitename: UKI-DAC"),
        ("SiteName: UKI-DAC\n", "SiteName: UKI-DAC\nSiteName: UKI-DAC\n"),
        ("SiteName: UKI-DAC", "SiteName"),
        ("FQAN: /survey/lensing/Role=NULL/Capability=NULL\n", ""),
        ("FQAN: /survey", "FQAN: survey"),
        ("Status: completed", "Status: running"),
        ("Status: completed", "Status: started"),
        ("EndTime: 1801530003\n", ""),
        ("EndTime: 1801530003", "EndTime: 1801436399"),
        ("WallDuration: 93603", "WallDuration: -1"),
        ("WallDuration: 93603", "WallDuration: 93603.5"),
        ("WallDuration: 93603", "WallDuration: 99999999"),
        ("CpuDuration: 140404", "CpuDuration: 140504"),
        ("CpuCount: 1.500", "CpuCount: 1.5001"),
        ("CpuCount: 1.500", "CpuCount: 1,500"),
        ("CpuCount: 1.500", "CpuCount: 12345678.000"),
        ("Memory: 2049", "Memory: 2.001"),
        ("ImageId: astronomy", "ImageId: " + "x" * 256),
        ("ImageId: astronomy", "ImageId: a%%b"),
        ("ImageId: astronomy", "ImageId: naïve"),
    ],
)
def test_a_wrong_record_is_refused(line: str, instead: str) -> None:
    assert line in RECORD
    with pytest.raises(InvalidRecord):
        apel.read_record(RECORD.replace(line, instead))


async def test_messages_stay_below_the_transport_s_limit_and_lose_nothing() -> None:
    limit = 3000
    found = [one async for one in apel.messages(each([RECORD] * 20), limit)]
    assert all(len(message) < limit for message in found)
    assert [len(apel.read_message(message)) for message in found] == [6, 6, 6, 2]
    assert [one async for one in apel.messages(each(()))] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"APEL-cloud-message: v0.4\n",
        b"APEL-cloud-message: v0.3\n" + RECORD.encode() + b"%%\n",
        b"APEL-cloud-message: v0.4\n" + RECORD.encode(),
        b"APEL-cloud-message: v0.4\n" + RECORD.encode() + b"%%\n" + RECORD.encode(),
        b"APEL-cloud-message: v0.4\n" + RECORD.encode() * 2 + b"%%\n",
        b"APEL-cloud-message: v0.4\n" + (RECORD.encode() + b"%%\n") * 4000,
        "APEL-cloud-message: v0.4\nSiteName: é\n%%\n".encode(),
    ],
)
def test_a_wrong_message_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRecord):
        apel.read_message(content)


@given(sessions)
def test_any_session_makes_a_record_that_is_read_as_it_is_meant(session: ChargedSession) -> None:
    ended_at = session.segments[0].ended_at
    assert ended_at is not None
    seconds = int((ended_at - START).total_seconds())
    about = Item(
        session_id=session.session_id, month=date(2027, 2, 1), status="completed", started_at=START,
        measured_at=ended_at, seconds=seconds,
        milli_core_seconds=seconds * session.milli_cores, sha256="",
    )  # fmt: skip
    measured = apel.read_record(apel.cloud_record(session, about, SETTINGS))
    assert measured.wall_seconds == seconds
    assert measured.cores * 1000 == session.milli_cores


# --- Names --------------------------------------------------------------------------------------


def test_long_usernames_fit_and_stay_apart() -> None:
    long = ["a" * USERNAME_MAX, "a" * (USERNAME_MAX - 1), "a" * (USERNAME_MAX - 1) + "b"]
    short = [xdmod_name(name) for name in long]
    assert len(set(short)) == len(long)
    assert all(len(name) <= XDMOD_NAME_MAX for name in short)
    assert xdmod_name("a" * XDMOD_NAME_MAX) == "a" * XDMOD_NAME_MAX


@pytest.mark.parametrize(
    ("full_name", "row"),
    [
        ("Ada Lovelace", ("ada", "Ada", "Lovelace")),
        ("Ada King, Countess of Lovelace", ("ada", "Ada King, Countess of", "Lovelace")),
        ("Ada", ("ada", "", "Ada")),
        ("", ("ada", "", "ada")),
        ("  Ada\n\x1b[31m Lovelace ", ("ada", "Ada [31m", "Lovelace")),
        ("田中 良子", ("ada", "田中", "良子")),
    ],
)
def test_names_in_first_and_last(full_name: str, row: tuple[str, str, str]) -> None:
    person = Person(
        username="ada", full_name=full_name, email="", issuer="local", administrator=False,
        disabled_at=None, disabled_reason=None, created_at=START, last_login_at=None,
    )  # fmt: skip
    assert name_row(person) == row
    assert csv_text([row], 3).decode().count("\n") == 1


@pytest.mark.parametrize("rows", [[("a", "b")], [("", "b", "c")], [("a", "b", "c")] * 2,
                                  [("a", "two\nlines", "c")]])  # fmt: skip
def test_a_wrong_table_is_refused(rows: list[tuple[str, ...]]) -> None:
    with pytest.raises(InvalidRecord):
        csv_text(rows, 3)
