"""Open XDMoD's jobs: lines as Slurm's ``sacct`` prints them, 26 fields.

Open XDMoD loses what it does not understand without a word, so every line is read again, strictly,
before it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from dachub.accounting.models import ChargedSession, Segment
from dachub.model.sessions import EndReason
from dachub.model.units import BYTES_PER_MIB, MILLI_CORES_PER_CORE
from dachub.reports.formats.text import is_plain, plain, xdmod_name
from dachub.reports.models import InvalidRecord

FIELDS = (
    "jobid", "jobidraw", "cluster", "partition", "qos", "account", "group", "gid", "user", "uid",
    "submit", "eligible", "start", "end", "elapsed", "exitcode", "state", "nnodes", "ncpus",
    "reqcpus", "reqmem", "reqtres", "alloctres", "timelimit", "nodelist", "jobname",
)  # fmt: skip
_in_order = itemgetter(*FIELDS)
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
    EndReason.MACHINE_LOST: "NODE_FAIL",
    EndReason.DISABLED: "CANCELLED",
    EndReason.LEFT_GROUP: "CANCELLED",
    EndReason.TIME_LIMIT: "TIMEOUT",
}
_WORD = r"[\x21-\x7b\x7d\x7e]+"
_NAME = rf"[\x21-\x7b\x7d\x7e]{{1,{NAME_MAX}}}"
_NUMBER = rf"0|[1-9]\d{{0,{NAME_MAX - 2}}}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_LENGTH = r"(?:\d+-)?\d\d:[0-5]\d:[0-5]\d"
_READ = {
    "jobid": _NUMBER, "jobidraw": _NUMBER, "cluster": _NAME, "partition": _WORD, "qos": _WORD,
    "account": _NAME, "group": _NAME, "gid": _NUMBER, "user": _WORD, "uid": _NUMBER,
    "submit": _TIME, "eligible": _TIME, "start": _TIME, "end": _TIME, "elapsed": _LENGTH,
    "exitcode": r"[^|]*", "state": "|".join(sorted(STATES)), "nnodes": "1", "ncpus": _NUMBER,
    "reqcpus": _NUMBER, "reqmem": r"[^|]*", "reqtres": r"[^|]*",
    "alloctres": r"cpu=\d+,mem=\d+M,node=1(?:,gres/gpu=[1-9]\d*)?", "timelimit": _LENGTH,
    "nodelist": rf"(?!None\|){_WORD}", "jobname": r".*[^ ].*",
}  # fmt: skip
"""How the values look that Open XDMoD reads as they are meant."""
_LINE = re.compile(r"\|".join(f"({_READ[name]})" for name in FIELDS), re.ASCII)


def whole_cores(milli_cores: int) -> int:
    """Cores as Open XDMoD counts them: the nearest whole number, half upwards, at least one."""
    return max(1, (milli_cores + MILLI_CORES_PER_CORE // 2) // MILLI_CORES_PER_CORE)


def job_line(session: ChargedSession, charged: Segment, resource: str) -> str:
    """The line of a session that ended, from its start to its end; not yet checked.

    ``charged`` has its average cores, where they changed.
    """
    ended_at = charged.ended_at or charged.started_at
    cores = whole_cores(charged.milli_cores)
    memory_mib = -(-session.memory_bytes // BYTES_PER_MIB)
    gpus = f",gres/gpu={session.gpus}" if session.gpus else ""
    reason = session.end_reason or EndReason.STOPPED
    requested_at = _time(session.requested_at)
    values = {
        "jobid": str(session.export_id),
        "jobidraw": str(session.export_id),
        "cluster": resource,
        "partition": plain(session.size, forbidden="| ") or "unknown",
        "qos": session.kind,
        "account": session.group,
        "group": session.group,
        "gid": NOBODY,
        "user": xdmod_name(session.username),
        "uid": NOBODY,
        "submit": requested_at,
        "eligible": requested_at,
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
    return "|".join(_in_order(values))


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
    if not is_plain(line):
        raise InvalidRecord("A job's line has characters other than visible ASCII.")
    found = _LINE.fullmatch(line)
    if found is None:
        raise _wrong(line)
    job = dict(zip(FIELDS, found.groups(), strict=True))
    job_id, cores = int(job["jobid"]), int(job["ncpus"])
    _require(job, "jobid", 1 <= job_id <= JOB_ID_MAX)
    _require(job, "jobidraw", job["jobidraw"] == job["jobid"])
    _require(job, "ncpus", cores >= 1)
    _require(job, "alloctres", job["alloctres"].startswith(f"cpu={job['ncpus']},"))
    submit, eligible, start, end = (
        _read_time(job, name) for name in ("submit", "eligible", "start", "end")
    )
    _require(job, "eligible", submit <= eligible)
    _require(job, "start", eligible <= start)
    _require(job, "end", start <= end)
    _require(job, "elapsed", _read_length(job["elapsed"]) == end - start)
    return Job(job_id, job["user"], job["account"], submit, start, end, cores)


def _wrong(line: str) -> InvalidRecord:
    """What is wrong with a line that does not look as it should."""
    values = line.split("|", len(FIELDS) - 1)
    if len(values) != len(FIELDS):
        return InvalidRecord(f"A job's line has {len(values)} fields instead of {len(FIELDS)}.")
    job = dict(zip(FIELDS, values, strict=True))
    bad = next(name for name in FIELDS if not re.fullmatch(_READ[name], job[name], re.ASCII))
    return _refused(job, bad)


def _require(job: dict[str, str], name: str, good: bool) -> None:
    if not good:
        raise _refused(job, name)


def _refused(job: dict[str, str], name: str) -> InvalidRecord:
    return InvalidRecord(f"Job {job['jobid'][:20]}: the field {name} cannot be '{job[name][:60]}'.")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _read_time(job: dict[str, str], name: str) -> datetime:
    try:
        return datetime.fromisoformat(f"{job[name]}+00:00")
    except ValueError:
        raise InvalidRecord(f"Job {job['jobid'][:20]}: {name} is no moment.") from None


def _length(length: timedelta) -> str:
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{length.days}-" if length.days else ""
    return f"{days}{hours:02}:{minutes:02}:{seconds:02}"


def _read_length(text: str) -> timedelta:
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = clock.split(":")
    return timedelta(
        days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds)
    )
