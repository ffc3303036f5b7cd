"""The largest folders of a tree, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

FOLDERS_MAX = 4096
"""Folders remembered; beyond, the smaller half counts as part of what they lie in."""
DEPTH_MAX = 8
"""What lies deeper counts as part of the folder at this depth."""
NEARLY_ALL_PERCENT = 90
"""A folder is not listed if one in it holds at least so much of it."""


class Folders:
    """What lies directly in each folder: blocks and files.

    Sums are exact; of folders that were small when memory was short, parts may count as their
    parents', so a folder may hold more than is listed for it, never less.
    """

    def __init__(self, own: dict[bytes, tuple[int, int]] | None = None) -> None:
        self.own: dict[bytes, tuple[int, int]] = own or {}

    def add(self, path: bytes, blocks: int, files: int) -> None:
        """Add what was found in a folder."""
        if path.count(b"/") >= DEPTH_MAX:
            path = b"/".join(path.split(b"/", DEPTH_MAX)[:DEPTH_MAX])
        before = self.own.get(path, (0, 0))
        self.own[path] = (before[0] + blocks, before[1] + files)
        if len(self.own) > FOLDERS_MAX:
            self._fold()

    def merge(self, other: Folders) -> None:
        """Add what another part of the walk found."""
        for path, (blocks, files) in other.own.items():
            self.add(path, blocks, files)

    def _fold(self) -> None:
        while len(self.own) > FOLDERS_MAX // 2:
            by_size = sorted(self.own, key=lambda path: self.own[path][0])
            for path in by_size[: len(by_size) // 2]:
                if path:
                    blocks, files = self.own.pop(path)
                    before = self.own.get(parent := _parent(path), (0, 0))
                    self.own[parent] = (before[0] + blocks, before[1] + files)

    def largest(self, count: int) -> list[tuple[bytes, int, int]]:
        """(path, blocks, files) of the largest folders with all that is below, largest first."""
        whole: dict[bytes, tuple[int, int]] = {}
        for path, (blocks, files) in self.own.items():
            for above in _upwards(path):
                before = whole.get(above, (0, 0))
                whole[above] = (before[0] + blocks, before[1] + files)
        explained = {
            _parent(path)
            for path, (blocks, _) in whole.items()
            if path and blocks * 100 >= whole[_parent(path)][0] * NEARLY_ALL_PERCENT
        }
        told = [
            (path, blocks, files)
            for path, (blocks, files) in whole.items()
            if path and path not in explained
        ]
        return heapq.nsmallest(count, told, key=lambda each: (-each[1], each[0]))


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _upwards(path: bytes) -> Iterator[bytes]:
    """A folder and all that it lies in, up to the root."""
    yield path
    while path:
        path = _parent(path)
        yield path
