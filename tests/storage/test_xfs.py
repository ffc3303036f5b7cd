"""XFS project quotas: on a real XFS as far as the kernel has them, else on recorded reports."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dachub.model.storage import StorageMethod
from dachub.storage.models import Allowed
from dachub.storage.samplers import SamplerFailed, xfs
from dachub.storage.samplers.mounts import Mount
from dachub.storage.samplers.xfs import OWN_PROJECTS, XFS, parse_report, project_of

FIRST = OWN_PROJECTS[0]
REPORT = "\n".join(
    f"#{project:<10} {blocks:>10}          0 {hard:>10}     00 {grace} {files:>10}          0"
    f" {files_hard:>10}     00 [--------]"
    for project, blocks, hard, grace, files, files_hard in (
        (0, 4, 0, "[--------]", 3, 0),
        (42, 7394256, 52428800, "[--------]", 12, 0),
        (FIRST, 2932, 4884, "[6 days]", 3, 20),
    )
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems"),
    pytest.mark.skipif(shutil.which("mkfs.xfs") is None, reason="xfsprogs is not installed"),
]


def _mounted(directory: Path, options: str) -> Path:
    image, point = directory / "xfs.img", directory / "mount"
    with image.open("wb") as file:
        file.truncate(320 * 1024**2)
    point.mkdir()
    subprocess.run(["mkfs.xfs", "-q", image], check=True, capture_output=True)
    done = subprocess.run(
        ["mount", "-t", "xfs", "-o", options, image, point],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"this kernel mounts no XFS with '{options}': {done.stderr.strip()}")
    return point


@pytest.fixture
def with_quota(tmp_path: Path) -> Iterator[Path]:
    """A mounted XFS that counts by project."""
    point = _mounted(tmp_path, "loop,pquota")
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.fixture
def without_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mounted XFS that only looks as if it counted: projects are real, reports recorded."""
    point = _mounted(tmp_path, "loop")
    mount = Mount(os.fsencode(point), "xfs", "/dev/loop0", frozenset({"prjquota"}))
    monkeypatch.setattr(xfs, "mount_of", lambda _path: mount)
    yield point
    subprocess.run(["umount", point], check=True)


class Recorder:
    """Runs what a kernel without quotas can, notes the limits, answers the report."""

    def __init__(self, report: str = "") -> None:
        self.report = report
        self.limits: list[str] = []
        self.marked = 0

    def __call__(self, command: Sequence[str]) -> str:
        what = command[3]
        if what.startswith("project"):
            self.marked += 1
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if what.startswith("limit"):
            self.limits.append(what)
            return ""
        return self.report


def test_a_report_is_read_whatever_its_grace_periods_say() -> None:
    found = parse_report(REPORT)
    assert sorted(found) == [0, 42, FIRST]
    assert (found[FIRST].blocks, found[FIRST].files, found[FIRST].limits) == (2932, 3, (4884, 20))


def test_the_quota_is_set_and_holds(with_quota: Path, tmp_path: Path) -> None:
    home = with_quota / "ada"
    (home / "folder").mkdir(parents=True)
    (home / "folder" / "before").write_bytes(b"x" * 1_000_000)
    sampler = XFS(tmp_path)
    assert sampler.enforce(home, Allowed(bytes=4 * 1024**2, files=20))
    with pytest.raises(OSError, match=r"quota|space"):
        (home / "folder" / "after").write_bytes(b"x" * 5 * 1024**2)
    found = XFS(tmp_path).measure("home/ada", home)
    assert found.method is StorageMethod.XFS_QUOTA
    assert 1_000_000 <= found.allocated_bytes <= 4 * 1024**2


def test_a_place_becomes_a_project_with_all_that_is_in_it(
    without_quota: Path, tmp_path: Path
) -> None:
    run = Recorder()
    sampler = XFS(tmp_path, run)
    for name in ("ada", "mia"):
        (without_quota / name / "folder").mkdir(parents=True)
        assert sampler.enforce(without_quota / name, Allowed(bytes=5_000_000, files=20))
    (without_quota / "mia" / "folder" / "new").mkdir()
    assert project_of(without_quota / "ada") == FIRST
    assert project_of(without_quota / "mia" / "folder" / "new") == FIRST + 1
    assert run.limits == [
        f"limit -p bhard=5000000 ihard=20 {FIRST}",
        f"limit -p bhard=5000000 ihard=20 {FIRST + 1}",
    ]
    assert sampler.is_counted(without_quota / "ada")


def test_a_marking_that_was_killed_is_repeated_and_one_that_ended_is_not(
    without_quota: Path, tmp_path: Path
) -> None:
    (without_quota / "ada").mkdir()
    run = Recorder()
    XFS(tmp_path, run).enforce(without_quota / "ada", Allowed())
    XFS(tmp_path, run).enforce(without_quota / "ada", Allowed())
    assert run.marked == 1
    (tmp_path / f"xfs-project-{FIRST}").unlink()
    assert not XFS(tmp_path, run).is_counted(without_quota / "ada")
    XFS(tmp_path, run).enforce(without_quota / "ada", Allowed())
    assert run.marked == 2


def test_limits_that_stand_are_not_set_again(without_quota: Path, tmp_path: Path) -> None:
    (without_quota / "ada").mkdir()
    XFS(tmp_path, Recorder()).enforce(without_quota / "ada", Allowed())
    run = Recorder(REPORT)
    assert XFS(tmp_path, run).enforce(without_quota / "ada", Allowed(bytes=4884 * 1024, files=20))
    assert run.limits == []
    assert XFS(tmp_path, run).enforce(without_quota / "ada", Allowed(bytes=0)) is True
    assert run.limits == [f"limit -p bhard=1024 ihard=0 {FIRST}"]
    found = XFS(tmp_path, run).measure("home/ada", without_quota / "ada")
    assert (found.allocated_bytes, found.files) == (2932 * 1024, 3)


def test_projects_of_others_are_left_alone(without_quota: Path, tmp_path: Path) -> None:
    home = without_quota / "ada"
    home.mkdir()
    subprocess.run(["xfs_quota", "-x", "-c", f"project -s -p {home} 42", without_quota], check=True)
    run = Recorder(REPORT)
    assert not XFS(tmp_path, run).enforce(home, Allowed(bytes=1))
    assert (run.limits, project_of(home)) == ([], 42)
    with pytest.raises(SamplerFailed, match="project of ours"):
        XFS(tmp_path, run).measure("home/ada", home)


def test_a_path_that_xfs_quota_cannot_be_told_is_left_to_policy(
    without_quota: Path, tmp_path: Path
) -> None:
    home = without_quota / "with blank"
    home.mkdir()
    assert not XFS(tmp_path, Recorder()).enforce(home, Allowed(bytes=1))


def test_a_failing_xfs_quota_is_told_in_its_own_words(without_quota: Path, tmp_path: Path) -> None:
    (without_quota / "ada").mkdir()

    def failing(command: Sequence[str]) -> str:
        raise subprocess.CalledProcessError(1, command, stderr="cannot set limits")

    with pytest.raises(SamplerFailed, match="cannot set limits"):
        XFS(tmp_path, failing).enforce(without_quota / "ada", Allowed())
