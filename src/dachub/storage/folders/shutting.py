"""Shuts people out of all that is in a group's folder, or lets them in again: a program.

The folder's door is shut already. What is left are programs of theirs that are inside, with a
working directory or an open one, and other names they gave to files while they could. So every
directory, and every file with more than one name, gets an entry that shuts them out by name, and
what of these was theirs becomes the system's: an owner could let themselves in again.

A process of its own: it may take long, and shares no more than its exit status.
"""

from __future__ import annotations

import argparse
import os
import resource
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from dachub.storage.folders import acl

NICENESS = 10


def change(folder: Path, shut: Collection[int], reopened: Collection[int]) -> int:
    """Go through a folder from above; how much could not be changed.

    A directory is shut before it is read, so that nobody who is being shut out adds to it
    meanwhile. Everything is reached through descriptors: what its owner puts in the place of
    something else is never met. Links and other file systems are left alone.
    """
    failed = 0
    way = [_enter(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))]
    device = os.fstat(way[0][0]).st_dev
    while way:
        here, names = way[-1]
        name = next(names, None)
        if name is None:
            os.close(way.pop()[0])
            continue
        try:
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=here)
        except FileNotFoundError:
            continue
        try:
            status = os.fstat(found)
            is_folder = stat.S_ISDIR(status.st_mode)
            if status.st_dev != device or stat.S_ISLNK(status.st_mode):
                continue
            if is_folder or status.st_nlink > 1:
                _change(f"/proc/self/fd/{found}", status, shut, reopened)
            if is_folder:
                way.append(_enter(os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY)))
        except OSError as error:
            failed += 1
            sys.stderr.write(f"{os.fsencode(name)!r}: {error.strerror}\n")
        finally:
            os.close(found)
    return failed


def _enter(folder: int) -> tuple[int, Iterator[str]]:
    return folder, iter(os.listdir(folder))


def _change(
    at: str, status: os.stat_result, shut: Collection[int], reopened: Collection[int]
) -> None:
    if status.st_uid in shut:
        os.chown(at, 0, -1)
    before = acl.read(at)
    after = acl.with_shut_out(before, shut, reopened)
    if after != before:
        acl.write(at, after)


def main() -> int:
    """Do as the command line says; 1 if something could not be changed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shut", type=int, nargs="*", default=[])
    parser.add_argument("--reopened", type=int, nargs="*", default=[])
    asked = parser.parse_args()
    os.nice(NICENESS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one for each level of directories
    return 1 if change(asked.folder, set(asked.shut), set(asked.reopened)) else 0


if __name__ == "__main__":
    sys.exit(main())
