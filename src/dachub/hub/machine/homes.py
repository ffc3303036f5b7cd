"""Whether a home has the room that a server needs; asked at every start, of the home itself."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pwd
import sys
from pathlib import Path

from pydantic import BaseModel, ValidationError

from dachub.hub.settings import RescueSettings
from dachub.model.problems import Unavailable
from dachub.model.units import spoken_bytes

log = logging.getLogger(__name__)

PROBE = Path(__file__).with_name("probe.py")
PATIENCE_SECONDS = 10


class HomeSilent(Unavailable):
    """The file system of the homes does not answer: a server would hang as well."""

    code = "home-silent"


class Room(BaseModel):
    """What :mod:`dachub.hub.machine.probe` saw; without a home only the error."""

    error: int
    free_bytes: int | None = None
    total_bytes: int = 0
    free_files: int | None = None


async def trouble(
    home: Path, owner: pwd.struct_passwd | None, settings: RescueSettings
) -> str | None:
    """Why a home is as good as full, for its owner; ``None`` where it has room, or is not there.

    Parameters
    ----------
    owner
        Unix account to look with; the hub's own where ``None``.

    Raises
    ------
    HomeSilent
        If the home does not answer.
    """
    room = await _look(home, owner)
    if room is None or room.free_bytes is None:
        return None
    if room.error not in {0, errno.ENOSPC, errno.EDQUOT}:
        return f"Nothing can be written in your home directory ({os.strerror(room.error)})."
    if room.error == errno.EDQUOT:
        return "Your home directory is full: you have used all that your quota lets you store."
    if room.free_files is not None and room.free_files < settings.free_files_min:
        return (
            f"Your home directory is full: there is room for {room.free_files} more files "
            f"(and for {spoken_bytes(room.free_bytes)}). Many small files use it up."
        )
    if room.error == errno.ENOSPC or room.free_bytes < settings.free_bytes_min:
        return (
            f"Your home directory is full: {spoken_bytes(room.free_bytes)} of its file system's "
            f"{spoken_bytes(room.total_bytes)} are free."
        )
    return None


async def _look(home: Path, owner: pwd.struct_passwd | None) -> Room | None:
    """Let the probe look; ``None`` where it could not, so that it keeps nobody from working."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(PROBE), str(home)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
            cwd="/",
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )
    except OSError:  # such as an environment of the hub that others cannot run
        log.exception("Nobody could look at %s", home)
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said, complaint = await process.communicate()
    except TimeoutError as error:
        process.kill()  # a process that waits for a disk dies when the disk answers
        raise HomeSilent(
            "Your home directory does not answer, so no server can be started in it. Try again "
            "in some minutes; if it stays so, tell your administrator."
        ) from error
    try:
        return Room.model_validate_json(said)
    except ValidationError:
        log.exception("The room in %s is not known: %s", home, complaint.decode(errors="replace"))
        return None
