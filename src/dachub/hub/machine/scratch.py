"""Where a rescue session writes what Jupyter must write: beside a home in which nothing can be.

Every path follows from the session's id, so that a later hub finds and removes what an earlier
one made.
"""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from dachub.hub.scratch import PLACES, scratch_variables
from dachub.model.problems import DachubError

log = logging.getLogger(__name__)

PREFIX = "dachub-rescue-"
ROOM_BYTES_MIN = 16 * 1024**2
REMOVE_SECONDS = 60


class NoScratch(DachubError):
    """There is no room for a rescue session either."""

    code = "no-scratch"
    status = 503


def make(
    session_id: UUID, home: Path, owner: pwd.struct_passwd | None, directories: Sequence[Path]
) -> dict[str, str]:
    """Make the session's directory; variables that send programs there. Blocks: for a thread.

    Its parent is ours, so that its owner can put nothing else in its place.

    Parameters
    ----------
    directories
        Where it may lie; those on another file system than the home come first.

    Raises
    ------
    NoScratch
        If none of them has room.
    """
    device = home.stat().st_dev
    near = {at for at in directories if at.is_dir() and at.stat().st_dev == device}
    for directory in sorted(directories, key=near.__contains__):
        with suppress(OSError):
            room = os.statvfs(directory)
            if room.f_bavail * room.f_frsize >= ROOM_BYTES_MIN:
                return scratch_variables(_make(directory / f"{PREFIX}{session_id}", owner))
    raise NoScratch(
        "Your home directory is full, and the machine has no room for a rescue session either. "
        "Tell your administrator."
    )


def remove(session_id: UUID, directories: Sequence[Path]) -> None:
    """Remove what the session wrote. Blocks."""
    for directory in directories:
        place = directory / f"{PREFIX}{session_id}"
        if place.is_dir():
            # It follows no links, whatever the person made of its content, and no depth stops it.
            command = ["rm", "-rf", "--one-file-system", "--", str(place)]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=REMOVE_SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                log.warning("%s could not be removed: %s", place, error)


def _make(place: Path, owner: pwd.struct_passwd | None) -> Path:
    place.mkdir(mode=0o711)
    inner = place / "files"
    inside = [inner / name for name in PLACES.values()]
    for directory in (inner, *inside):
        directory.mkdir(mode=0o700)
    if owner is not None:
        # From below: what is still ours when it is given away cannot be replaced meanwhile.
        for directory in (*inside, inner):
            os.chown(directory, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return inner
