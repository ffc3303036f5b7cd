"""``python -m benchmarks.far_files``: a file system that is as far away as one over a network.

It holds made-up directories of empty files and lets everyone wait before each answer, many at the
same time, as a file server does. It speaks the kernel's FUSE protocol (linux/fuse.h, version 7.31)
itself, so it needs nothing installed but the right to mount; it ends when it is unmounted.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

ANSWERED_AT_ONCE = 32
BUFFER_BYTES = 135_168
KNOWN_SECONDS = 1
ROOT, FIRST_FILE = 1, 1 << 32

LOOKUP, FORGET, GETATTR, STATFS, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = (
    1, 2, 3, 17, 26, 27, 28, 29, 36, 42,
)  # fmt: skip
PARALLEL_DIROPS = 1 << 18

_REQUEST = struct.Struct("=IIQQIIIHH")  # length, operation, its number, node, ...
_ANSWER = struct.Struct("=IiQ")
_STARTED = struct.Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
_NODE = struct.Struct("=QQQQII")
_KNOWN = struct.Struct("=QII")
_READ = struct.Struct("=QQI")
_ENTRY = struct.Struct("=QQII")


@dataclass(frozen=True, slots=True)
class FarFiles:
    """So many directories of so many files each, and how long an answer takes."""

    directories: int
    files: int
    seconds: float

    def answer(self, operation: int, node: int, body: bytes) -> bytes:
        """What the kernel is told; an ``OSError`` tells it that."""
        match operation:
            case _ if operation == INIT:
                flags = struct.unpack_from("=IIII", body)[3] & PARALLEL_DIROPS
                return _STARTED.pack(7, 31, 0, flags, 64, 48, 4096, 1, 0, 0, 0)
            case _ if operation == LOOKUP:
                below = self._find(node, body.rstrip(b"\0"))
                known = (KNOWN_SECONDS, KNOWN_SECONDS, 0, 0)
                return _NODE.pack(below, 0, *known) + self._attributes(below)
            case _ if operation == GETATTR:
                return _KNOWN.pack(KNOWN_SECONDS, 0, 0) + self._attributes(node)
            case _ if operation == OPENDIR:
                return struct.pack("=QII", 0, 0, 0)
            case _ if operation == READDIR:
                _, offset, size = _READ.unpack_from(body)
                return self._entries(node, offset, size)
            case _ if operation == RELEASEDIR:
                return b""
        raise OSError(errno.ENOSYS, "")

    def _find(self, node: int, name: bytes) -> int:
        try:
            number = int(name)
        except ValueError:
            raise OSError(errno.ENOENT, "") from None
        return number + 2 if node == ROOT else FIRST_FILE * (node - 1) + number

    def _attributes(self, node: int) -> bytes:
        kind = stat.S_IFREG | 0o644 if node >= FIRST_FILE else stat.S_IFDIR | 0o755
        names = 1 if node >= FIRST_FILE else 2
        return _ATTRIBUTES.pack(
            node, 5000, 16, 0, 0, 0, 0, 0, 0, kind, names, 0, 0, 0, 4096, 0
        )  # fmt: skip

    def _entries(self, node: int, offset: int, size: int) -> bytes:
        found = b""
        kind = stat.S_IFDIR if node == ROOT else stat.S_IFREG
        for number in range(offset, self.directories if node == ROOT else self.files):
            name = b"%08d" % number
            entry = _ENTRY.pack(self._find(node, name), number + 1, len(name), kind >> 12) + name
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def serve(files: FarFiles, channel: int) -> None:
    """Answer the kernel until the file system is unmounted."""
    while True:
        try:
            request = os.read(channel, BUFFER_BYTES)
        except OSError as error:
            if error.errno in {errno.EINTR, errno.ENOENT}:
                continue
            return
        _, operation, number, node, *_ = _REQUEST.unpack_from(request)
        if operation in {FORGET, BATCH_FORGET, INTERRUPT}:
            continue
        time.sleep(files.seconds)
        try:
            told, code = files.answer(operation, node, request[_REQUEST.size :]), 0
        except OSError as error:
            told, code = b"", -(error.errno or errno.EIO)
        os.write(channel, _ANSWER.pack(_ANSWER.size + len(told), code, number) + told)


def main() -> None:
    """Mount the file system and serve it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.far_files", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("--directories", type=int, required=True)
    parser.add_argument("--files", type=int, required=True, help="in each directory")
    parser.add_argument("--seconds", type=float, required=True, help="before each answer")
    arguments = parser.parse_args()
    files = FarFiles(arguments.directories, arguments.files, arguments.seconds)
    channel = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={channel},rootmode=40000,user_id=0,group_id=0"
    mount = ["mount", "-i", "-t", "fuse", "-o", options, "far", str(arguments.mount)]
    subprocess.run(mount, check=True, pass_fds=[channel])
    for _ in range(ANSWERED_AT_ONCE):
        Thread(target=serve, args=(files, channel)).start()


if __name__ == "__main__":
    main()
