"""Stretches of a large directory, so that several processes count it and a walk stops inside it.

A stretch begins at a position that the kernel told. Positions stay good for whoever opens the
directory later, whatever comes and goes in it: servers of network file systems give them to their
clients. Python tells the position only of what the kernel gave at once, some hundred entries or
more, so stretches begin and end there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

STRETCH_ENTRIES = 5000
AHEAD = 4
"""Stretches made at a time, so that others need not wait for the names of all."""

Entry = os.DirEntry[str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What follows a position in a directory: so many entries, or all; then it is to be divided."""

    position: int
    entries: int | None


class Given:
    """The entries of an open directory that the kernel gave already.

    Attributes
    ----------
    position
        Once they were passed: where the others begin; ``None``: there are no others.
    """

    def __init__(self, entries: Iterator[Entry], handle: int) -> None:
        self._entries = entries
        self._handle = handle
        self.position: int | None = None

    def __iter__(self) -> Iterator[Entry]:
        position = position_in(self._handle)
        for entry in self._entries:
            if position_in(self._handle) != position:  # the first one of those given next
                self.position = position
                return
            yield entry


def divided(handle: int, position: int) -> list[Stretch]:
    """Divide what follows ``position``, by its names alone; what is left to divide comes first.

    Raises
    ------
    OSError
    """
    stretches: list[Stretch] = []
    passed = 0
    os.lseek(handle, position, os.SEEK_SET)
    with os.scandir(handle) as entries:
        while len(stretches) < AHEAD:
            passed += sum(1 for _ in islice(entries, STRETCH_ENTRIES))
            given = Given(entries, handle)
            passed += sum(1 for _ in given)
            stretches.append(Stretch(position, passed))
            if given.position is None:
                return stretches
            position, passed = given.position, 1  # the entry that told the end
    return [Stretch(position, None), *stretches]


def position_in(handle: int) -> int:
    """Where the kernel goes on in an open directory."""
    return os.lseek(handle, 0, os.SEEK_CUR)
