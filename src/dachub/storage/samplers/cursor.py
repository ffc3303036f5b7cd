"""Where an unfinished walk is: survives the death of everything but its disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dachub.infra.files import write_private
from dachub.storage.samplers.folders import Folders
from dachub.storage.samplers.stretches import Stretch
from dachub.storage.samplers.walk import Left, Part

NAMES_IN_PART = 64
"""A part starts with so many directories at most, with fewer when fewer are left."""


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

    def take(self, among: int = 1) -> list[Left]:
        """Take what one part starts with, of what came first; ``among`` are to end together."""
        waiting = sum(_weight(left) for _, left in islice(self.left, NAMES_IN_PART * among))
        most = min(NAMES_IN_PART, 1 + waiting // (2 * among - 1))
        taken: list[Left] = []
        count = 0
        while self.left and count < most:
            path, left = self.left[0]
            if isinstance(left, Stretch) and taken:
                break
            self.left.popleft()
            if isinstance(left, list):
                room = most - count
                if len(left) > room:
                    self.left.appendleft((path, left[room:]))
                left = left[:room]
            taken.append((path, left))
            count += _weight(left)
        return taken

    def add(self, part: Part) -> None:
        """Add what a part found; a file with several names counts when its first one is met."""
        self.size += part.size
        self.blocks += part.blocks
        self.files += part.files
        self.unreadable += part.unreadable
        for path, left in part.left:
            if isinstance(left, Stretch) and left.entries is None:
                self.left.appendleft((path, left))  # next: its names are work for all
            else:
                self.left.append((path, left))
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


def _weight(left: list[bytes] | Stretch | None) -> int:
    """How many directories it stands for; a stretch is enough for a part."""
    if isinstance(left, Stretch):
        return NAMES_IN_PART
    return 1 if left is None else len(left)


def _plain(left: Left) -> list[object]:
    path, what = left
    if isinstance(what, list):
        return [os.fsdecode(path), [os.fsdecode(name) for name in what]]
    if isinstance(what, Stretch):
        return [os.fsdecode(path), {"position": what.position, "entries": what.entries}]
    return [os.fsdecode(path), None]


def _left(plain: list[object]) -> Left:
    path, what = plain
    if not isinstance(path, str):
        raise TypeError(path)
    if isinstance(what, list):
        return os.fsencode(path), [os.fsencode(name) for name in what]
    if isinstance(what, dict):
        entries = what["entries"]
        return os.fsencode(path), Stretch(
            int(what["position"]), None if entries is None else int(entries)
        )
    if what is not None:
        raise TypeError(what)
    return os.fsencode(path), None
