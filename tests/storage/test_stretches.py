"""A large directory: counted in stretches, by several processes, stopped and resumed inside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dachub.storage.models import Measurement
from dachub.storage.samplers import stretches, walker
from dachub.storage.samplers.cursor import Cursor
from dachub.storage.samplers.stretches import Stretch, divided
from dachub.storage.samplers.walk import Budget, Left, walk_part
from dachub.storage.samplers.walker import Walk

PLENTY = Budget(files=10**9, seconds=10**9, files_per_second=10**9)
FILES, FOLDERS = 3000, 5
ENTRIES = FILES + 2 * FOLDERS
IN_ALL = 1 + FILES + 2 * FOLDERS


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files, some of two names, with a few directories among them."""
    made = tmp_path_factory.mktemp("large")
    for number in range(FILES):
        os.close(os.open(made / f"{number:06}-{'a-long-name' * 5}", os.O_CREAT))
    for number in range(FOLDERS):
        (made / f"inner-{number}").mkdir()
        (made / f"inner-{number}" / "data").write_bytes(b"x" * 5000)
        os.link(made / f"inner-{number}" / "data", made / f"again-{number}")
    return made


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches and parts as short as the kernel's answers allow."""
    monkeypatch.setattr(stretches, "STRETCH_ENTRIES", 10)
    monkeypatch.setattr(stretches, "AHEAD", 3)
    monkeypatch.setattr(walker, "FIRST_PART_FILES", 1)
    monkeypatch.setattr(walker, "PART_FILES", 1)


@pytest.fixture
def handle(large: Path) -> Iterator[int]:
    """The large directory, open."""
    opened = os.open(large, os.O_RDONLY)
    yield opened
    os.close(opened)


def walked(large: Path, state: Path, processes: int, turn_seconds: float) -> Measurement | None:
    walk = Walk(state, processes=processes, files_per_second=10**9, turn_seconds=turn_seconds)
    try:
        return walk.measure("home/ada", large)
    finally:
        walk.close()


def names_in(handle: int, stretch: Stretch) -> list[str]:
    os.lseek(handle, stretch.position, os.SEEK_SET)
    with os.scandir(handle) as entries:
        return [next(entries).name for _ in range(stretch.entries or 0)]


def test_several_processes_count_it_once(large: Path, tmp_path: Path) -> None:
    found = walked(large, tmp_path, processes=2, turn_seconds=3600)
    assert found is not None
    assert (found.files, found.unreadable) == (IN_ALL, 0)


def test_its_stretches_follow_each_other_and_what_is_far_ahead_is_divided_later(
    large: Path, handle: int
) -> None:
    rest, *first = divided(handle, 0)
    assert (rest.entries, len(first)) == (None, 3)
    names: list[str] = []
    while rest.entries is None:
        names += [name for stretch in first for name in names_in(handle, stretch)]
        rest, *first = divided(handle, rest.position)
    names += [name for stretch in (rest, *first) for name in names_in(handle, stretch)]
    assert sorted(names) == sorted(each.name for each in large.iterdir())


def test_a_walk_stops_and_goes_on_inside_it(large: Path, tmp_path: Path) -> None:
    turns = 1
    while (found := walked(large, tmp_path, processes=1, turn_seconds=0)) is None:
        turns += 1
    assert turns > 4
    assert found.files == IN_ALL


def test_what_comes_and_goes_meanwhile_is_all_that_the_count_is_off_by(
    large: Path, tmp_path: Path
) -> None:
    assert walked(large, tmp_path, processes=1, turn_seconds=0) is None
    changed = 20
    for each in sorted(large.iterdir())[:changed]:
        each.rename(each.with_name(f"{each.name}-new"))
    while (found := walked(large, tmp_path, processes=1, turn_seconds=0)) is None:
        pass
    assert abs(found.files - IN_ALL) <= 2 * changed


def test_a_directory_that_is_gone_or_another_by_now_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    beyond = 2**62
    left: list[Left] = [
        (b"other", Stretch(beyond, 5)), (b"other", Stretch(beyond, None)),
        (b"gone", Stretch(0, 5)), (b"gone", Stretch(0, None)),
    ]  # fmt: skip
    while left:
        part = walk_part(os.fsencode(tmp_path), left, (), PLENTY)
        assert part.files == 0
        left = part.left


def test_a_stretch_is_remembered_and_is_a_part_of_its_own(tmp_path: Path) -> None:
    left = [(b"a", None), (b"a", Stretch(2**63 - 1, 7)), (b"a", Stretch(5, None))]
    cursor = Cursor((1, 2))
    cursor.left.clear()
    cursor.left.extend(left)
    cursor.save(tmp_path / "cursor", [])
    again = Cursor.load(tmp_path / "cursor", (1, 2))
    assert [again.take() for _ in left] == [[each] for each in left]


@pytest.mark.parametrize("position", ['"x"', "null", "[]"])
def test_a_damaged_position_only_costs_the_walk_its_progress(tmp_path: Path, position: str) -> None:
    Cursor((1, 2)).save(tmp_path / "cursor", [(b"a", Stretch(77, 7))])
    text = (tmp_path / "cursor").read_text().replace("77", position)
    (tmp_path / "cursor").write_text(text)
    assert list(Cursor.load(tmp_path / "cursor", (1, 2)).left) == [(b"", None)]
