"""The largest folders: in bounded memory, without losing a block."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dachub.storage.samplers.folders import FOLDERS_MAX, Folders

NAMES = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=12).map(b"/".join)


@given(st.lists(st.tuples(NAMES, st.integers(0, 100), st.integers(0, 100))))
def test_no_block_and_no_file_is_lost(found: list[tuple[bytes, int, int]]) -> None:
    folders = Folders()
    for path, blocks, files in found:
        folders.add(path, blocks, files)
    sums = [sum(own[index] for own in folders.own.values()) for index in (0, 1)]
    assert sums == [sum(each[index] for each in found) for index in (1, 2)]


def test_a_million_folders_do_not_take_memory_and_the_large_one_stays() -> None:
    folders = Folders()
    folders.add(b"a/large", 10**6, 1)
    for number in range(20 * FOLDERS_MAX):
        folders.add(b"a/b%d/c%d" % (number % 50, number), 1, 1)
        assert len(folders.own) <= FOLDERS_MAX
    assert sum(blocks for blocks, _ in folders.own.values()) == 10**6 + 20 * FOLDERS_MAX
    assert folders.largest(1) == [(b"a/large", 10**6, 1)]
