"""What takes the room below a directory: its biggest folders and largest files."""

from __future__ import annotations

import heapq
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LISTED_MAX = 25
BLOCK_BYTES = 512
# A folder that consists of little but one other folder tells less than that one.
TELLING_SHARE = 0.9
RECLAIMABLE = (".local/share/Trash", ".cache")
"""Below a home: what programs make again, and what was thrown away already."""


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file, or a folder with all below it; bytes as they lie on disk."""

    allocated_bytes: int
    path: str
    files: int = 1


@dataclass(slots=True)
class _Folder:
    """A folder on the way from the top to where the walk is."""

    path: str
    below: list[str] = field(default_factory=list)
    allocated_bytes: int = 0
    files: int = 0
    biggest_bytes: int = 0


@dataclass
class Survey:
    """One walk in a thread of its own; what it knows so far can be read at any time.

    It stays on one file system, follows no links and counts hard links once. Its memory depends
    on the depth of folders and the number in one, not on the number of files.
    """

    root: Path
    allocated_bytes: int = 0
    files: int = 0
    unreadable: int = 0
    finished: bool = False
    reclaimable: list[Found] = field(default_factory=list)
    _folders: list[Found] = field(default_factory=list)
    _largest: list[Found] = field(default_factory=list)
    _links: set[int] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start walking."""
        threading.Thread(target=self._walk, name="dachub-survey", daemon=True).start()

    def end(self) -> None:
        """Walk no further."""
        self._stop.set()

    @property
    def folders(self) -> list[Found]:
        """The biggest folders, the biggest first; paths are below the root."""
        return sorted(self._folders, reverse=True)

    @property
    def largest(self) -> list[Found]:
        """The largest files, the largest first; paths are below the root."""
        return sorted(self._largest, reverse=True)

    def _walk(self) -> None:
        try:
            device = self.root.stat().st_dev
            way = [self._enter("", device)]
            while not self._stop.is_set():
                if way[-1].below:
                    way.append(self._enter(way[-1].below.pop(), device))
                    continue
                folder = way.pop()
                if not way:
                    break
                self._leave(folder, way[-1])
        except OSError:
            self.unreadable += 1
        finally:
            self.finished = True

    def _enter(self, path: str, device: int) -> _Folder:
        """Count what is in a folder itself."""
        folder = _Folder(path)
        for entry in self._entries(path):
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:  # gone meanwhile
                self.unreadable += 1
                continue
            if found.st_dev != device:
                continue
            name = f"{path}/{entry.name}" if path else entry.name
            if stat.S_ISDIR(found.st_mode):
                folder.below.append(name)
            elif found.st_nlink > 1:
                if found.st_ino in self._links:
                    continue
                self._links.add(found.st_ino)
            size_bytes = found.st_blocks * BLOCK_BYTES
            folder.allocated_bytes += size_bytes
            folder.files += 1
            self.files += 1
            self.allocated_bytes += size_bytes
            if stat.S_ISREG(found.st_mode):
                _keep(self._largest, Found(size_bytes, name))
        return folder

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                yield from entries
        except OSError:
            self.unreadable += 1

    def _leave(self, folder: _Folder, above: _Folder) -> None:
        above.allocated_bytes += folder.allocated_bytes
        above.files += folder.files
        above.biggest_bytes = max(above.biggest_bytes, folder.allocated_bytes)
        found = Found(folder.allocated_bytes, folder.path, folder.files)
        if folder.path in RECLAIMABLE:
            self.reclaimable.append(found)
        if folder.biggest_bytes < TELLING_SHARE * folder.allocated_bytes:
            _keep(self._folders, found)


def _keep(heap: list[Found], found: Found) -> None:
    """Keep the biggest."""
    if len(heap) < LISTED_MAX:
        heapq.heappush(heap, found)
    else:
        heapq.heappushpop(heap, found)
