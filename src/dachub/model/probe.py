"""Looks at a home as its owner: a program, whose argument is the home.

It runs as the person before their server does, on one machine as a program of its own, so it knows
only the standard library. What it prints is for :mod:`dachub.hub.room`.
"""

import json
import os
import sys
import uuid

WRITTEN_BYTES = 256 * 1024
NO_ROOM = 75
"""With this a server in a pod ends that found no room (EX_TEMPFAIL of sysexits.h)."""


def look(home: str) -> dict[str, int | None]:
    """Room in a home, and the error of writing there (0: none); the error alone without a home.

    Only root may use what a file system keeps in reserve, and quotas show only when they bite:
    hence the writing, and as the person.
    """
    try:
        directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        room = os.fstatvfs(directory)
    except OSError as error:
        return {"error": error.errno}
    return {
        "error": try_to_write(directory),
        "free_bytes": room.f_bavail * room.f_frsize,
        "total_bytes": room.f_blocks * room.f_frsize,
        # Some file systems do not count files.
        "free_files": room.f_favail if room.f_files else None,
    }


def try_to_write(directory: int) -> int:
    """Write to a file that has no name any more; the error, 0 for none."""
    name = f".dachub-{uuid.uuid4().hex}"
    try:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    except OSError as error:
        return error.errno or 0
    os.unlink(name, dir_fd=directory)
    try:
        left = memoryview(bytes(WRITTEN_BYTES))
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)  # network file systems tell of a quota only now
        os.close(file)
    except OSError as error:
        return error.errno or 0
    return 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(sys.argv[1])))
