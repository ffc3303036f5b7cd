"""``python -m dachub.storage.sample``: measures places, in a process of low priority.

The service gives a :class:`SamplingJob` on standard input and reads a :class:`SamplingReport` a
line from standard output. It may be killed at any moment: what was reported is done, an unfinished
walk is remembered in the state directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from dachub.model.storage import StorageArea
from dachub.storage.models import Allowed, ReportKind, SamplingJob, SamplingReport, place_key
from dachub.storage.samplers import SamplerFailed, spoken_path
from dachub.storage.samplers.choice import Samplers
from dachub.storage.samplers.cursor import cursor_path

NICE = 19
STATE_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Found:
    """A directory that is a place."""

    area: StorageArea
    owner: str
    path: Path

    @property
    def key(self) -> str:
        """Names it among all places."""
        return place_key(self.area, self.owner)


def main() -> int:
    """Do the job on standard input."""
    be_gentle()
    job = SamplingJob.model_validate_json(sys.stdin.buffer.read())
    run(job)
    return 0


def be_gentle() -> None:
    """Let everybody else have processor and disk first."""
    process = psutil.Process()
    process.nice(NICE)
    process.ionice(psutil.IOPRIO_CLASS_IDLE)


def run(job: SamplingJob) -> None:
    """Measure what is due, or what was asked for, and report."""
    job.state.mkdir(mode=STATE_MODE, parents=True, exist_ok=True)
    found: list[Found] = []
    for area, directory in job.areas.items():
        try:
            places = list(_places(area, directory))
        except OSError as error:
            if job.only is None and not isinstance(error, FileNotFoundError):
                _report(ReportKind.FAILED, area, text=f"{directory}: {error.strerror}")
            continue
        found += places
        if job.only is None:
            _report(ReportKind.LISTED, area, owners=[place.owner for place in places])
    with Samplers(job, lambda files: _report(ReportKind.ADVANCED, area, files=files)) as samplers:
        for place in _chosen(job, found):
            _measure(job, place, samplers)
    for key in {*(job.only or ())} - {place.key for place in found}:
        area, _, owner = key.partition("/")
        _report(ReportKind.FAILED, StorageArea(area), owner, text="there is no such directory")


def _measure(job: SamplingJob, place: Found, samplers: Samplers) -> None:
    allowed = job.allowed.get(place.key) or job.defaults.get(place.area, Allowed())
    # What somebody asked for begins anew: they want to see what they have just removed.
    name = place.key if job.only is None else f"{place.key}/requested"
    try:
        enforced = samplers.enforce(place.path, allowed)
        measurement = samplers.measure(name, place.path)
    except (SamplerFailed, OSError) as error:
        _report(ReportKind.FAILED, place.area, place.owner, text=str(error))
        return
    kind = ReportKind.UNFINISHED if measurement is None else ReportKind.MEASURED
    _report(kind, place.area, place.owner, measurement=measurement, enforced=enforced)


def _places(area: StorageArea, directory: Path) -> Iterator[Found]:
    with os.scandir(os.fsencode(directory)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield Found(area, spoken_path(entry.name), Path(os.fsdecode(entry.path)))


def _chosen(job: SamplingJob, found: list[Found]) -> list[Found]:
    """What to measure, in order: as asked for, else what was not looked at for longest.

    An unfinished walk is due at once, after those that were not looked at since.
    """
    if job.only is not None:
        by_key = {place.key: place for place in found}
        return [by_key[key] for key in job.only if key in by_key]
    due = []
    for place in found:
        tried_at = job.tried_at.get(place.key)
        is_old = tried_at is None or job.due_before is None or tried_at <= job.due_before
        if is_old or cursor_path(job.state, place.key).exists():
            due.append((0.0 if tried_at is None else tried_at.timestamp(), place.key, place))
    return [place for _, _, place in sorted(due, key=lambda each: each[:2])]


def _report(kind: ReportKind, area: StorageArea, owner: str = "", **told: object) -> None:
    report = SamplingReport.model_validate({"kind": kind, "area": area, "owner": owner, **told})
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
