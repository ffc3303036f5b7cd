"""Where an unfinished walk is: survives the death of everything but its disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dachub.infra.files import write_private
from dachub.storage.samplers.folders import Folders
from dachub.storage.samplers.walk import Left, Part

NAMES_IN_PART = 64
"""A part starts with so many directories at most: the rest is for the other processes."""


@dataclass(slots=True)
class Cursor:
    """Sums of what was walked, and what is left.

    ``linked`` are the files with several names of which not all were met yet: inode -> how many are
    to come. So it is bounded by them, whatever the size of the tree.
    """

    root: tuple[int, int]
    size: int = 0
    blocks: int = 0
    files: int = 0
    unreadable: int = 0
    left: deque[Left] = field(default_factory=lambda: deque[Left]([(b"", None)]))
    linked: dict[int, int] = field(default_factory=dict)
    folders: Folders = field(default_factory=Folders)

    def take(self) -> list[Left]:
        """Take what one part starts with, of what came first."""
        taken: list[Left] = []
        count = 0
        while self.left and count < NAMES_IN_PART:
            path, names = self.left.popleft()
            if names is not None:
                room = NAMES_IN_PART - count
                if len(names) > room:
                    self.left.appendleft((path, names[room:]))
                names = names[:room]
            count += 1 if names is None else len(names)
            taken.append((path, names))
        return taken

    def add(self, part: Part) -> None:
        """Add what a part found; a file with several names counts when its first one is met."""
        self.size += part.size
        self.blocks += part.blocks
        self.files += part.files
        self.unreadable += part.unreadable
        self.left.extend(part.left)
        self.folders.merge(part.folders)
        for inode, found in part.linked.items():
            to_come = self.linked.pop(inode, None)
            if to_come is None:
                to_come = found.names
                self.size += found.size
                self.blocks += found.blocks
                self.files += 1
                self.folders.add(found.folder, found.blocks, 1)
            if to_come > found.seen:
                self.linked[inode] = to_come - found.seen

    def save(self, path: Path, running: Sequence[Left]) -> None:
        """Write all to disk; what parts are walking just now counts as left."""
        plain = {
            "root": self.root,
            "sums": [self.size, self.blocks, self.files, self.unreadable],
            "left": [_plain(left) for left in (*running, *self.left)],
            "linked": list(self.linked.items()),
            "folders": [[os.fsdecode(path), *own] for path, own in self.folders.own.items()],
        }
        write_private(path, json.dumps(plain))

    @classmethod
    def load(cls, path: Path, root: tuple[int, int]) -> Cursor:
        """Go on where the walk of this root was; at its beginning if that is not known."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            if tuple(plain["root"]) != root:
                return cls(root)
            size, blocks, files, unreadable = plain["sums"]
            return cls(
                root,
                size,
                blocks,
                files,
                unreadable,
                deque(_left(left) for left in plain["left"]),
                dict(plain["linked"]),
                Folders({os.fsencode(name): (own[0], own[1]) for name, *own in plain["folders"]}),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return cls(root)


def cursor_path(directory: Path, name: str) -> Path:
    """File of the walk of the place ``name``, which may be anything."""
    return directory / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _plain(left: Left) -> list[object]:
    path, names = left
    return [os.fsdecode(path), None if names is None else [os.fsdecode(name) for name in names]]


def _left(plain: list[object]) -> Left:
    path, names = plain
    if not isinstance(path, str):
        raise TypeError(path)
    if names is None:
        return os.fsencode(path), None
    if not isinstance(names, list):
        raise TypeError(names)
    return os.fsencode(path), [os.fsencode(name) for name in names]
