"""The process that measures: which places, in which order, and what it says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dachub.model.storage import StorageArea, StorageMethod
from dachub.storage.models import ReportKind, SamplingJob, SamplingReport
from dachub.storage.sample import run
from dachub.storage.samplers import SamplerFailed
from dachub.storage.samplers.ceph import Ceph
from dachub.storage.samplers.mounts import Mount, mount_of, mounts

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
HOME, GROUP = StorageArea.HOME, StorageArea.GROUP


@pytest.fixture
def job(tmp_path: Path) -> SamplingJob:
    """Homes of ada and mia, a folder of lensing, and what else lies about."""
    for place in ("homes/ada", "homes/mia", "groups/lensing"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "homes" / os.fsdecode(b"old-\xff")).mkdir()
    (tmp_path / "homes" / "a-file").touch()
    (tmp_path / "homes" / "a-link").symlink_to("/usr")
    return SamplingJob(
        areas={HOME: tmp_path / "homes", GROUP: tmp_path / "groups"},
        state=tmp_path / "state",
        method="auto",
        processes=1,
        files_per_second=10**9,
        turn_seconds=3600,
    )


def reports(job: SamplingJob, capsys: pytest.CaptureFixture[str]) -> list[SamplingReport]:
    run(job)
    lines = capsys.readouterr().out.splitlines()
    return [SamplingReport.model_validate_json(line) for line in lines]


def owners(found: list[SamplingReport], kind: ReportKind = ReportKind.MEASURED) -> list[str]:
    return [report.owner for report in found if report.kind is kind]


def test_every_directory_is_measured_whosever_it_is(
    job: SamplingJob, capsys: pytest.CaptureFixture[str]
) -> None:
    found = reports(job, capsys)
    listed = {report.area: report.owners for report in found if report.kind is ReportKind.LISTED}
    assert sorted(listed[HOME]) == ["ada", "mia", "old-\\xff"]
    assert sorted(owners(found)) == ["ada", "lensing", "mia", "old-\\xff"]
    ada = next(report.measurement for report in found if report.owner == "ada")
    assert ada is not None
    assert (ada.method, ada.files) == (StorageMethod.WALK, 2)


def test_what_was_not_looked_at_for_longest_comes_first_and_what_is_not_due_not_at_all(
    job: SamplingJob, capsys: pytest.CaptureFixture[str]
) -> None:
    tried_at = {
        "home/ada": NOON - timedelta(hours=1),
        "home/mia": NOON - timedelta(hours=2),
        "group/lensing": NOON,
    }
    update = {"tried_at": tried_at, "due_before": NOON - timedelta(hours=1)}
    assert owners(reports(job.model_copy(update=update), capsys)) == ["old-\\xff", "mia", "ada"]


def test_what_was_asked_for_is_measured_alone_and_from_its_beginning(
    job: SamplingJob, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    update = {"only": ["home/mia", "home/gone"], "due_before": NOON}
    found = reports(job.model_copy(update=update), capsys)
    assert [(report.kind, report.owner) for report in found] == [
        (ReportKind.MEASURED, "mia"), (ReportKind.FAILED, "gone"),
    ]  # fmt: skip


def test_a_place_whose_turn_is_over_is_unfinished_and_others_are_measured(
    job: SamplingJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dachub.storage.samplers.walker.FIRST_PART_FILES", 1)
    (job.areas[HOME] / "ada" / "folder").mkdir()
    found = reports(job.model_copy(update={"turn_seconds": 0}), capsys)
    assert owners(found, ReportKind.UNFINISHED) == ["ada"]
    assert "mia" in owners(found)


def test_an_area_that_cannot_be_listed_says_nothing_of_its_places(
    job: SamplingJob, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    update = {"areas": {HOME: tmp_path / "homes" / "a-file", GROUP: tmp_path / "not-made-yet"}}
    (report,) = reports(job.model_copy(update=update), capsys)
    assert (report.kind, report.area) == (ReportKind.FAILED, HOME)
    assert "Not a directory" in report.text


def test_the_process_lets_others_have_processor_and_disk_first(job: SamplingJob) -> None:
    code = (
        "import psutil; from dachub.storage import sample; sample.be_gentle(); "
        "me = psutil.Process(); print(me.nice(), int(me.ionice().ioclass))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["19", str(3)]  # of the idle class


# --- What file systems know themselves -----------------------------------------------------------

MOUNTINFO = rb"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
31 22 8:16 / /srv/data rw,relatime shared:9 - xfs /dev/sdb rw,attr2,inode64,prjquota
40 31 0:50 / /srv/data/with\040blank rw,relatime - ceph 10.0.0.1:6789:/ rw,name=homes,acl
41 22 8:32 / /srv/data rw,relatime - tmpfs none rw
""".strip()


def test_a_path_lies_on_the_last_and_deepest_mount() -> None:
    assert mounts(MOUNTINFO)[1] == Mount(
        b"/srv/data", "xfs", "/dev/sdb", frozenset({"rw", "attr2", "inode64", "prjquota"})
    )
    kinds = {
        path: mount.kind
        for path in (b"/srv", b"/srv/data", b"/srv/database", b"/srv/data/with blank/ada")
        if (mount := mount_of(path, MOUNTINFO))
    }
    assert kinds == {
        b"/srv": "ext4",
        b"/srv/data": "tmpfs",
        b"/srv/database": "ext4",
        b"/srv/data/with blank/ada": "ceph",
    }


def test_cephfs_is_asked_for_its_own_sums() -> None:
    told = {
        "ceph.dir.rbytes": b"10995116277760",
        "ceph.dir.rfiles": b"77",
        "ceph.dir.rsubdirs": b"5",
    }
    found = Ceph(lambda _place, name: told[name]).measure("home/ada", Path("/homes/ada"))
    assert (found.method, found.allocated_bytes, found.files) == (
        StorageMethod.CEPH, 10 * 1024**4, 82,
    )  # fmt: skip


def test_a_file_system_that_does_not_know_its_sums_says_so(tmp_path: Path) -> None:
    with pytest.raises(SamplerFailed, match="does not tell its sums"):
        Ceph().measure("home/ada", tmp_path)
