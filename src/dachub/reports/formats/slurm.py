"""Open XDMoD's jobs: lines as Slurm's ``sacct`` prints them, 26 fields.

Open XDMoD loses what it does not understand without a word, so every line is read again, strictly,
before it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dachub.accounting.models import Segment
from dachub.model.sessions import EndReason, SessionRecord
from dachub.model.units import BYTES_PER_MIB, MILLI_CORES_PER_CORE
from dachub.reports.formats.text import is_plain, plain, xdmod_name
from dachub.reports.models import InvalidRecord

FIELDS = (
    "jobid", "jobidraw", "cluster", "partition", "qos", "account", "group", "gid", "user", "uid",
    "submit", "eligible", "start", "end", "elapsed", "exitcode", "state", "nnodes", "ncpus",
    "reqcpus", "reqmem", "reqtres", "alloctres", "timelimit", "nodelist", "jobname",
)  # fmt: skip
STATES = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
     "BOOT_FAIL", "DEADLINE", "REVOKED"}
)  # fmt: skip
JOB_ID_MAX = 2**31 - 1
NAME_MAX = 20
NOBODY = "65534"
"""Number of a user and group where there is none: people here have names only."""

_STATE = {
    EndReason.LOST: "NODE_FAIL",
    EndReason.DISABLED: "CANCELLED",
    EndReason.LEFT_GROUP: "CANCELLED",
    EndReason.TIME_LIMIT: "TIMEOUT",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z", re.ASCII)
_LENGTH = re.compile(r"(?:(\d+)-)?(\d\d):(\d\d):(\d\d)\Z", re.ASCII)
_NAME = re.compile(r"[\x21-\x7b\x7d\x7e]+\Z")
_NUMBER = re.compile(r"(0|[1-9]\d*)\Z", re.ASCII)
_TRES = re.compile(r"cpu=(\d+),mem=\d+M,node=1(?:,gres/gpu=[1-9]\d*)?\Z", re.ASCII)


def whole_cores(milli_cores: int) -> int:
    """Cores as Open XDMoD counts them: the nearest whole number, half upwards, at least one."""
    return max(1, (milli_cores + MILLI_CORES_PER_CORE // 2) // MILLI_CORES_PER_CORE)


def job_line(session: SessionRecord, charged: Segment, resource: str) -> str:
    """The line of a session that ended, from its start to its end; not yet checked.

    ``charged`` has its average cores, where they changed.
    """
    ended_at = charged.ended_at or charged.started_at
    cores = whole_cores(charged.milli_cores)
    memory_mib = -(-session.memory_bytes // BYTES_PER_MIB)
    gpus = f",gres/gpu={session.gpus}" if session.gpus else ""
    reason = session.end_reason or EndReason.STOPPED
    values = {
        "jobid": str(session.export_id),
        "jobidraw": str(session.export_id),
        "cluster": resource,
        "partition": plain(session.size, forbidden="| ") or "unknown",
        "qos": session.kind.value,
        "account": session.group,
        "group": session.group,
        "gid": NOBODY,
        "user": xdmod_name(session.username),
        "uid": NOBODY,
        "submit": _time(session.requested_at),
        "eligible": _time(session.requested_at),
        "start": _time(charged.started_at),
        "end": _time(ended_at),
        "elapsed": _length(ended_at - charged.started_at),
        "exitcode": "0:0",
        "state": _STATE.get(reason, "COMPLETED"),
        "nnodes": "1",
        "ncpus": str(cores),
        "reqcpus": str(cores),
        "reqmem": f"{memory_mib}Mn",
        "reqtres": "",
        "alloctres": f"cpu={cores},mem={memory_mib}M,node=1{gpus}",
        "timelimit": "00:00:00",
        "nodelist": resource,
        "jobname": plain(session.server_name).strip() or "default",
    }
    return "|".join(values[name] for name in FIELDS)


@dataclass(frozen=True, slots=True)
class Job:
    """What Open XDMoD reads in a line."""

    job_id: int
    user: str
    account: str
    submit: datetime
    start: datetime
    end: datetime
    cores: int

    @property
    def seconds(self) -> int:
        """How long it ran."""
        return int((self.end - self.start).total_seconds())

    @property
    def core_seconds(self) -> int:
        """What it is charged there."""
        return self.seconds * self.cores


def read_line(line: str) -> Job:
    """Read a line as Open XDMoD does, but refuse what it would lose or misread.

    Raises
    ------
    InvalidRecord
        Naming the field and what is wrong with it.
    """
    fields = line.split("|", len(FIELDS) - 1)
    if len(fields) != len(FIELDS):
        raise InvalidRecord(f"A job's line has {len(fields)} fields instead of {len(FIELDS)}.")
    if not is_plain(line):
        raise InvalidRecord("A job's line has characters other than visible ASCII.")
    job = dict(zip(FIELDS, fields, strict=True))
    for name in ("cluster", "partition", "qos", "account", "group", "user", "nodelist"):
        _require(job, name, _NAME.match(job[name]) is not None)
    for name in ("cluster", "account", "group"):
        _require(job, name, len(job[name]) <= NAME_MAX)
    _require(job, "nodelist", job["nodelist"] != "None")
    numbers = {name: _number(job, name) for name in
               ("jobid", "jobidraw", "gid", "uid", "nnodes", "ncpus", "reqcpus")}  # fmt: skip
    _require(job, "jobid", 1 <= numbers["jobid"] <= JOB_ID_MAX)
    _require(job, "jobidraw", numbers["jobidraw"] == numbers["jobid"])
    _require(job, "nnodes", numbers["nnodes"] == 1)
    _require(job, "ncpus", numbers["ncpus"] >= 1)
    _require(job, "state", job["state"] in STATES)
    times = {name: _read_time(job, name) for name in ("submit", "eligible", "start", "end")}
    for before, after in (("submit", "eligible"), ("eligible", "start"), ("start", "end")):
        _require(job, after, times[before] <= times[after])
    elapsed = _read_length(job, "elapsed")
    _require(job, "elapsed", elapsed == times["end"] - times["start"])
    _read_length(job, "timelimit")
    allocated = _TRES.match(job["alloctres"])
    _require(job, "alloctres", allocated is not None and allocated[1] == job["ncpus"])
    _require(job, "jobname", bool(job["jobname"].strip()))
    return Job(
        numbers["jobid"],
        job["user"],
        job["account"],
        times["submit"],
        times["start"],
        times["end"],
        numbers["ncpus"],
    )


def _require(job: dict[str, str], name: str, good: bool) -> None:
    if not good:
        raise InvalidRecord(
            f"Job {job['jobid'][:20]}: the field {name} cannot be '{job[name][:60]}'."
        )


def _number(job: dict[str, str], name: str) -> int:
    _require(job, name, _NUMBER.match(job[name]) is not None and len(job[name]) < NAME_MAX)
    return int(job[name])


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _read_time(job: dict[str, str], name: str) -> datetime:
    _require(job, name, _TIME.match(job[name]) is not None)
    try:
        return datetime.fromisoformat(job[name]).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRecord(f"Job {job['jobid'][:20]}: {name} is no moment.") from None


def _length(length: timedelta) -> str:
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{length.days}-" if length.days else ""
    return f"{days}{hours:02}:{minutes:02}:{seconds:02}"


def _read_length(job: dict[str, str], name: str) -> timedelta:
    parts = _LENGTH.match(job[name])
    _require(job, name, parts is not None and parts[3] < "60" and parts[4] < "60")
    assert parts is not None  # noqa: S101  just required
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
