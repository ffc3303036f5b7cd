"""The walk: counts what `du` counts, whatever a tree is made of and however often it is stopped."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.harness.waiting import until

from dachub.model.storage import Folder
from dachub.storage.models import Measurement
from dachub.storage.samplers import SamplerFailed, walk, walker
from dachub.storage.samplers.cursor import Cursor, cursor_path
from dachub.storage.samplers.walk import Budget, Part, walk_part
from dachub.storage.samplers.walker import Walk

PLENTY = Budget(files=10**9, seconds=10**9, files_per_second=10**9)


@pytest.fixture
def tree() -> Iterator[Path]:
    """An empty directory that other accounts can reach."""
    made = Path(tempfile.mkdtemp(prefix="dachub-walk-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def walking(state: Path, *, turn_seconds: float = 3600, processes: int = 2) -> Walk:
    return Walk(state, processes=processes, files_per_second=10**9, turn_seconds=turn_seconds)


def measured(tree: Path, tmp_path: Path) -> Measurement:
    walk = walking(tmp_path)
    try:
        found = walk.measure("home/ada", tree)
    finally:
        walk.close()
    assert found is not None
    return found


def sums(found: Measurement) -> Measurement:
    """Without the folders: which one a file with several names counts in depends on the order."""
    return found.model_copy(update={"largest": []})


def _root(tree: Path) -> tuple[int, int]:
    return tree.stat().st_dev, tree.stat().st_ino


def du(tree: Path, *options: str) -> int:
    done = subprocess.run(
        ["du", "-s", "-x", *options, tree], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[0])


def furnish(tree: Path) -> None:
    """Something of everything."""
    for folder in range(30):
        inner = tree / f"folder-{folder}" / "inner"
        inner.mkdir(parents=True)
        for number in range(20):
            (inner / f"{number}.dat").write_bytes(b"x" * 517 * number)
    os.truncate(tree / "folder-0" / "inner" / "1.dat", 10 * 1024**3)
    (tree / "link").symlink_to("/usr")
    os.mkfifo(tree / "pipe")
    odd = tree / os.fsdecode(b"not-utf-8-\xff\xfe")
    odd.mkdir()
    (odd / os.fsdecode(b"\x80\n")).write_bytes(b"x" * 9000)
    for folder in range(1, 5):
        os.link(tree / "folder-9/inner/19.dat", tree / f"folder-{folder}/other name")


def test_it_counts_what_du_counts(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tree)
    for files in (walker.FIRST_PART_FILES, 1):  # in one part, and in hundreds
        monkeypatch.setattr(walker, "FIRST_PART_FILES", files)
        monkeypatch.setattr(walker, "PART_FILES", files)
        found = measured(tree, tmp_path)
        assert found.allocated_bytes == du(tree, "-B1")
        assert found.files == du(tree, "--inodes")
        assert found.unreadable == 0
        assert found.bytes > 10 * 1024**3  # the sparse file's length


def test_a_file_with_several_names_counts_once_and_only_open_ones_are_remembered(
    tree: Path,
) -> None:
    (tree / "a").mkdir()
    (tree / "b").mkdir()
    (tree / "a/data").write_bytes(b"x" * 100_000)
    os.link(tree / "a/data", tree / "a/again")
    os.link(tree / "a/data", tree / "b/again")
    cursor = Cursor((0, 0))
    sizes = []
    for names in ([b"a"], [b"b"]):
        cursor.add(walk_part(os.fsencode(tree), [(b"", names)], (), PLENTY))
        sizes.append((cursor.files, cursor.blocks, len(cursor.linked)))
    assert sizes[0] == (1, (tree / "a/data").stat().st_blocks, 1)
    assert sizes[1] == (1, (tree / "a/data").stat().st_blocks, 0)


def test_what_is_gone_or_was_exchanged_is_neither_followed_nor_a_fault(
    tree: Path, tmp_path: Path
) -> None:
    (tree / "exchanged").symlink_to("/usr/share")
    (tree / "file").touch()
    left = [(b"", [b"gone", b"exchanged", b"file"]), (b"gone/deeper", None)]
    part = walk_part(os.fsencode(tree), left, (), PLENTY)  # type: ignore[arg-type]
    assert (part.files, part.unreadable, part.left) == (0, 0, [])


def test_files_that_vanish_between_listing_and_looking_do_not_count(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stays", "goes"):
        (tree / name).touch()
    monkeypatch.setattr(
        walk._Walk, "_keep_pace", lambda *_: (tree / "goes").unlink(missing_ok=True)
    )
    part = walk_part(os.fsencode(tree), [(b"", None)], (), PLENTY)
    assert (part.files, part.unreadable) == (2, 0)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
def test_what_may_not_be_read_is_counted_and_told(tree: Path) -> None:
    (tree / "closed").mkdir(mode=0o700)
    (tree / "closed" / "secret").touch()
    os.seteuid(65534)
    try:
        part = walk_part(os.fsencode(tree), [(b"", None)], (), PLENTY)
    finally:
        os.seteuid(0)
    assert (part.files, part.unreadable) == (2, 1)


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")


@pytest.mark.root
@pytest.mark.parametrize("kind", ["another file system", "the same one again"])
def test_it_stays_on_its_mount(tree: Path, tmp_path: Path, kind: str) -> None:
    (tree / "data").mkdir()
    (tree / "data" / "file").touch()
    inside = tree / "data" / "loop"
    inside.mkdir()
    if kind == "another file system":
        _mount("-t", "tmpfs", "none", inside)
    else:
        _mount("--bind", tree, inside)  # as a loop: the tree lies in itself
    try:
        found = measured(tree, tmp_path)
    finally:
        subprocess.run(["umount", inside], check=True)
    assert found.files == 3  # the tree, data and its file


def test_no_path_is_too_long_and_no_nesting_too_deep(tree: Path, tmp_path: Path) -> None:
    levels, name = 400, "deep" * 20
    handle = os.open(tree, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(os.open("bottom", os.O_CREAT, dir_fd=handle))
    os.close(handle)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    assert measured(tree, tmp_path).files == levels + 2
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_a_walk_that_was_stopped_goes_on_where_it_was(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tree)
    monkeypatch.setattr(walker, "FIRST_PART_FILES", 40)
    expected = measured(tree, tmp_path / "..")
    turns = 0
    while (found := walking(tmp_path, turn_seconds=0).measure("home/ada", tree)) is None:
        turns += 1
        assert cursor_path(tmp_path, "home/ada").exists()
    assert turns > 10
    assert sums(found) == sums(expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kill
def test_a_walk_that_was_killed_loses_nothing_and_counts_nothing_twice(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tree)
    monkeypatch.setattr(walker, "FIRST_PART_FILES", 20)
    monkeypatch.setattr(walker, "PART_FILES", 20)
    expected = measured(tree, tmp_path / "..")
    monkeypatch.setattr(walker, "SAVE_EVERY_SECONDS", 0)
    monkeypatch.setattr(walker, "SAVE_SHARE", 0)
    slow = Walk(tmp_path, processes=2, files_per_second=200, turn_seconds=3600)
    victim = multiprocessing.get_context("fork").Process(
        target=slow.measure, args=("home/ada", tree)
    )
    victim.start()
    until(cursor_path(tmp_path, "home/ada").exists, "the walk remembers where it is")
    walkers = psutil.Process(victim.pid).children()
    victim.kill()
    victim.join()
    until(
        lambda: not any(each.is_running() for each in walkers),
        "the processes of the walk ended with it",
    )
    assert Cursor.load(cursor_path(tmp_path, "home/ada"), _root(tree)).files > 20
    assert sums(measured(tree, tmp_path)) == sums(expected)


def test_what_was_being_walked_when_it_was_killed_is_walked_again(tmp_path: Path) -> None:
    cursor = Cursor((1, 2))
    cursor.add(Part(size=5, blocks=6, files=7, unreadable=1, left=[(b"b", None)]))
    running = cursor.take()
    assert running == [(b"", None), (b"b", None)]
    cursor.save(tmp_path / "cursor", running)
    again = Cursor.load(tmp_path / "cursor", (1, 2))
    assert list(again.left) == running
    assert (again.size, again.blocks, again.files, again.unreadable) == (5, 6, 7, 1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"root": [1, 2]}', '{"root": 5}'])
def test_a_damaged_memory_only_costs_the_walk_its_progress(tmp_path: Path, text: str) -> None:
    (tmp_path / "cursor").write_text(text)
    assert list(Cursor.load(tmp_path / "cursor", (1, 2)).left) == [(b"", None)]


def test_another_directory_in_its_place_is_walked_from_its_beginning(tmp_path: Path) -> None:
    Cursor((1, 2), files=7).save(tmp_path / "cursor", [])
    assert Cursor.load(tmp_path / "cursor", (1, 3)).files == 0


def test_directories_are_shared_among_the_processes_to_the_last() -> None:
    cursor = Cursor((0, 0))
    cursor.left.clear()
    cursor.left.append((b"a", [b"%d" % number for number in range(400)]))
    parts = []
    while cursor.left:
        parts.append(sum(len(names) for _, names in cursor.take(2) if isinstance(names, list)))
    assert parts[:5] == [64, 64, 64, 64, 49]
    assert parts[-2:] == [1, 1]


def test_it_sleeps_when_it_was_faster_than_it_may_be(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        (tree / str(number)).touch()
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    walk_part(os.fsencode(tree), [(b"", None)], (), Budget(10**9, 10**9, files_per_second=10))
    assert 9 < sum(slept) <= 10  # a hundred files at ten a second


def test_a_place_that_is_gone_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(SamplerFailed, match="No such file"):
        walking(tmp_path).measure("home/ada", tmp_path / "gone")


def test_the_largest_folders_are_told_once_each(tree: Path, tmp_path: Path) -> None:
    for name, size in (("data/run/deep/deeper", 900_000), ("data/old", 400_000), ("notes", 50_000)):
        (tree / name).mkdir(parents=True)
        (tree / name / "file").write_bytes(b"x" * size)
    largest = measured(tree, tmp_path).largest
    # data/run and deep hold nothing but deeper; data holds old, too.
    assert [folder.path for folder in largest] == [
        "data", "data/run/deep/deeper", "data/old", "notes",
    ]  # fmt: skip
    assert largest[-1] == Folder(path="notes", allocated_bytes=largest[-1].allocated_bytes, files=1)
