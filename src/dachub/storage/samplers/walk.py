"""One part of a walk through a tree: counts, and says what is left of the tree to count.

Parts of one tree run in several processes, and a walk goes on where it was after it was killed,
because a part knows nothing but what it is given and what it returns. Paths are bytes, as the
kernel has them, relative to the tree's root; ``b""`` is the root itself.

A tree may change, or be made to deceive, while it is walked: a directory is opened by its name in a
directory that is already open and never through a symbolic link, so no exchange leads a walk that
may read everything out of the tree, and no path is too long.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from stat import S_IFREG, S_ISDIR

from dachub.storage.samplers.folders import Folders
from dachub.storage.samplers.stretches import Entry, Given, Stretch, divided

BLOCK_BYTES = 512
"""Unit of ``st_blocks``."""
CHUNK_FILES = 100
"""So many files are looked at between two looks at the clock; more fit no processor's cache."""
DEPTH_MAX = 64
"""Directories open at once; what lies deeper is left to another part."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_MODE, _NAMES = attrgetter("st_mode"), attrgetter("st_nlink")
_BLOCKS, _SIZE = attrgetter("st_blocks"), attrgetter("st_size")

Left = tuple[bytes, list[bytes] | Stretch | None]
"""A directory, and what of it is left: directories in it, or a stretch; ``None``: all of it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one part does at most; it ends soon after it is spent."""

    files: int
    seconds: float
    files_per_second: float


@dataclass(slots=True)
class Linked:
    """A file with several names, some of them seen."""

    names: int
    seen: int
    size: int
    blocks: int
    folder: bytes


@dataclass(slots=True)
class Part:
    """What a part found; files with several names are not in its sums but in ``linked``."""

    size: int = 0
    blocks: int = 0
    files: int = 0
    unreadable: int = 0
    left: list[Left] = field(default_factory=list)
    linked: dict[int, Linked] = field(default_factory=dict)
    folders: Folders = field(default_factory=Folders)


@dataclass(slots=True)
class _Open:
    """A directory that was counted; ``names`` are the directories in it that were not."""

    handle: int
    path: bytes
    names: list[bytes]


def walk_part(root: bytes, left: Sequence[Left], skip: Collection[bytes], budget: Budget) -> Part:
    """Count ``left`` of the tree at ``root`` as far as ``budget`` reaches.

    Parameters
    ----------
    skip
        Directories on which something else is mounted, even of the same file system.

    Raises
    ------
    OSError
        If the root itself cannot be opened.
    """
    return _Walk(root, skip, budget).run(left)


class _Walk:
    def __init__(self, root: bytes, skip: Collection[bytes], budget: Budget) -> None:
        self._skip = skip
        self._budget = budget
        self._part = Part()
        self._looked_at = 0
        self._since = time.monotonic()
        self._root = os.open(root, _OPEN)
        self._device = os.fstat(self._root).st_dev

    def run(self, left: Sequence[Left]) -> Part:
        waiting = list(left)
        try:
            while waiting and not self._is_spent():
                self._below(*waiting.pop())
        finally:
            os.close(self._root)
        self._part.left += waiting
        return self._part

    def _is_spent(self) -> bool:
        used_seconds = time.monotonic() - self._since
        return self._looked_at >= self._budget.files or used_seconds >= self._budget.seconds

    def _below(self, path: bytes, left: list[bytes] | Stretch | None) -> None:
        """Count a directory, or what is left of it, with all that is below."""
        handle = self._open_path(path)
        if handle is None:
            return
        if isinstance(left, Stretch) and left.entries is None:
            self._divide(handle, path, left.position)
            return
        names = left if isinstance(left, list) else self._scan(handle, path, left)
        stack = [_Open(handle, path, names)]
        try:
            while stack and not self._is_spent():
                here = stack[-1]
                if not here.names:
                    os.close(stack.pop().handle)
                    continue
                name = here.names.pop()
                below = here.path + b"/" + name if here.path else name
                inner = self._open(name, here.handle)
                if inner is None:
                    continue
                found = _Open(inner, below, self._scan(inner, below))
                if len(stack) < DEPTH_MAX:
                    stack.append(found)
                else:
                    self._leave(found)
        finally:
            for each in stack:
                self._leave(each)

    def _divide(self, handle: int, path: bytes, position: int) -> None:
        """Leave the rest of a large directory in stretches, for all processes."""
        try:
            self._part.left += [(path, stretch) for stretch in divided(handle, position)]
        except OSError:
            self._part.unreadable += 1
        finally:
            os.close(handle)

    def _leave(self, directory: _Open) -> None:
        os.close(directory.handle)
        if directory.names:
            self._part.left.append((directory.path, directory.names))

    def _open_path(self, path: bytes) -> int | None:
        """Open a directory step by step: no link on the way is followed, no length too much."""
        handle = os.dup(self._root)
        for name in path.split(b"/") if path else ():
            inner = self._open(name, handle)
            os.close(handle)
            if inner is None:
                return None
            handle = inner
        return handle

    def _open(self, name: bytes, handle: int) -> int | None:
        """Open a directory; ``None`` if it is gone, was exchanged, or may not be read."""
        try:
            inner = os.open(name, _OPEN, dir_fd=handle)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # A symbolic link in its place; anything else is ours to report.
            self._part.unreadable += error.errno != errno.ELOOP
            return None
        if os.fstat(inner).st_dev != self._device:
            os.close(inner)
            return None
        return inner

    def _scan(self, handle: int, path: bytes, stretch: Stretch | None = None) -> list[bytes]:
        """Count what is in a directory, or in a stretch of it; returns the directories there."""
        part, inner = self._part, list[bytes]()
        files = blocks = size = 0
        if stretch is None and not path:  # the root's own entry is in no directory that is counted
            own = os.fstat(handle)
            files, blocks, size = 1, own.st_blocks, own.st_size
        try:
            for chunk in self._chunks(handle, path, stretch):
                self._keep_pace(len(chunk))
                found = self._look_at(chunk)
                if not _are_plain_files(found):
                    found = list(self._sort(chunk, found, path, inner))
                files += len(found)
                blocks += sum(map(_BLOCKS, found))
                size += sum(map(_SIZE, found))
        except OSError:
            part.unreadable += 1
        part.files += files
        part.blocks += blocks
        part.size += size
        part.folders.add(path, blocks, files)
        return inner

    def _chunks(self, handle: int, path: bytes, stretch: Stretch | None) -> Iterator[list[Entry]]:
        """What to look at next; once the budget is spent, what the kernel gave not yet is left."""
        given: Given | None = None
        to_come = None
        if stretch is not None:
            to_come = stretch.entries
            os.lseek(handle, stretch.position, os.SEEK_SET)
        with os.scandir(handle) as listed:
            entries: Iterator[Entry] = islice(listed, to_come)
            while chunk := list(islice(entries, CHUNK_FILES)):
                if to_come is not None:
                    to_come -= len(chunk)
                yield chunk
                if given is None and self._is_spent():
                    given = Given(entries, handle)
                    entries = iter(given)
        if given is not None and given.position is not None:
            self._part.left.append((path, Stretch(given.position, to_come)))

    def _look_at(self, chunk: list[Entry]) -> list[os.stat_result]:
        """What each entry is; what is gone or unreadable leaves ``chunk``."""
        try:
            return [entry.stat(follow_symlinks=False) for entry in chunk]
        except OSError:
            pairs = [(entry, self._look_at_one(entry)) for entry in chunk]
            chunk[:] = [entry for entry, found in pairs if found]
            return [found for _, found in pairs if found]

    def _look_at_one(self, entry: Entry) -> os.stat_result | None:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError:
            self._part.unreadable += 1
            return None

    def _sort(
        self, chunk: list[Entry], found: list[os.stat_result], path: bytes, inner: list[bytes]
    ) -> Iterator[os.stat_result]:
        """What counts here: neither other file systems nor, yet, files with several names."""
        for entry, each in zip(chunk, found, strict=True):
            if S_ISDIR(each.st_mode):
                name = os.fsencode(entry.name)
                below = path + b"/" + name if path else name
                if each.st_dev != self._device or below in self._skip:
                    continue
                inner.append(name)
            elif each.st_nlink > 1:
                self._note_linked(each, path)
                continue
            yield each

    def _note_linked(self, found: os.stat_result, path: bytes) -> None:
        known = self._part.linked.get(found.st_ino)
        if known is None:
            self._part.linked[found.st_ino] = Linked(
                found.st_nlink, 1, found.st_size, found.st_blocks, path
            )
        else:
            known.seen += 1

    def _keep_pace(self, files: int) -> None:
        """Sleep while more was looked at than may be in the time."""
        self._looked_at += files
        early_seconds = self._looked_at / self._budget.files_per_second
        early_seconds -= time.monotonic() - self._since
        if early_seconds > 0:  # to sleep for nothing would give the processor away
            time.sleep(early_seconds)


def _are_plain_files(found: list[os.stat_result]) -> bool:
    """Whether there is nothing but files (or links) of one name: most often so, told fastest."""
    return (
        min(map(_MODE, found), default=S_IFREG) >= S_IFREG
        and max(map(_NAMES, found), default=1) == 1
    )
