"""What the page of a rescue session finds and deletes, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.harness.waiting import until

from dachub.client.rescue.removal import NotRemoved, remove
from dachub.client.rescue.survey import LISTED_MAX, Found, Survey

MIB = 1024**2


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(bytes(MIB))
    return tmp_path / "home"


def write(file: Path, size_bytes: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size_bytes))


def surveyed(home: Path) -> Survey:
    survey = Survey(home)
    survey.begin()
    until(lambda: survey.finished, "the walk is over")
    return survey


def paths(found: list[Found]) -> list[str]:
    return [one.path for one in found]


def test_the_biggest_come_first_and_what_says_nothing_is_left_out(home: Path) -> None:
    write(home / "a/deep/path/large.fits", 4 * MIB)
    write(home / "b/first", MIB)
    write(home / "b/second/third", 2 * MIB)
    write(home / ".cache/x", MIB)
    survey = surveyed(home)
    assert paths(survey.folders) == ["a/deep/path", "b", "b/second", ".cache"]
    assert paths(survey.largest) == [
        "a/deep/path/large.fits",
        "b/second/third",
        "b/first",
        ".cache/x",
    ]
    assert survey.folders[1].files == 3
    assert paths(survey.reclaimable) == [".cache"]


def test_it_counts_what_lies_on_disk_once_and_follows_no_links(home: Path) -> None:
    write(home / "file", MIB)
    os.link(home / "file", home / "again")
    with (home / "sparse").open("wb") as sparse:
        sparse.truncate(1024 * MIB)
    (home / "link").symlink_to(home.parent / "outside")
    (home / "round").symlink_to(".")
    os.mkfifo(home / "pipe")
    survey = surveyed(home)
    assert survey.allocated_bytes < 2 * MIB
    assert survey.files == 5


def test_any_name_can_be_found_and_deleted(home: Path) -> None:
    names = [b"\xff\xfe", b"two\nlines", b"-rf", b"'; rm -rf ~; '", "Δ z".encode()]
    for name in names:
        write(home / os.fsdecode(name) / "file", MIB)
    survey = surveyed(home)
    assert sorted(map(os.fsencode, paths(survey.folders))) == sorted(names)
    for found in survey.folders:
        remove(home, found.path)
    assert list(home.iterdir()) == []


def test_a_deep_and_a_crowded_home_are_walked_to_their_end(home: Path) -> None:
    at = home
    for _ in range(300):
        at = at / "d"
    write(at / "bottom", 1)
    for number in range(2 * LISTED_MAX):
        write(home / "many" / str(number), number)
    survey = surveyed(home)
    assert survey.files == 300 + 1 + 1 + 2 * LISTED_MAX
    assert len(survey.largest) == LISTED_MAX
    remove(home, "d")
    assert sorted(name.name for name in home.iterdir()) == ["many"]


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/", "../outside", "a/../../outside", "a//b", "/etc/passwd", "a/./b", "a\0b"],
)
def test_no_path_leads_out(home: Path, path: str) -> None:
    write(home / "a/b", 1)
    with pytest.raises(NotRemoved):
        remove(home, path)
    assert (home / "a/b").exists()
    assert (home.parent / "outside/kept").exists()


def test_links_are_deleted_and_never_what_they_lead_to(home: Path) -> None:
    outside = home.parent / "outside"
    (home / "link").symlink_to(outside)
    with pytest.raises(NotRemoved):
        remove(home, "link/kept")
    write(home / "folder/file", 1)
    (home / "folder/link").symlink_to(outside)
    remove(home, "folder")
    remove(home, "link")
    assert list(home.iterdir()) == []
    assert (outside / "kept").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_other_file_systems_are_left_alone(home: Path) -> None:
    write(home / "folder/file", 1)
    at = home / "folder/mounted"
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(at)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        write(at / "kept", MIB)
        assert "folder/mounted" not in paths(surveyed(home).folders)
        for path in ("folder/mounted", "folder/mounted/kept", "folder"):
            with pytest.raises(NotRemoved):
                remove(home, path)
        assert (at / "kept").exists()
    finally:
        subprocess.run(["umount", str(at)], check=True)
