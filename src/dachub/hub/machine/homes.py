"""Whether a home has the room that a server needs; asked at every start, of the home itself."""

from __future__ import annotations

import asyncio
import logging
import pwd
import sys
from pathlib import Path

from pydantic import ValidationError

from dachub.hub.room import Room, why_full
from dachub.hub.settings import RescueSettings
from dachub.model import probe
from dachub.model.problems import Unavailable

log = logging.getLogger(__name__)

PROBE = Path(probe.__file__)
PATIENCE_SECONDS = 10


class HomeSilent(Unavailable):
    """The file system of the homes does not answer: a server would hang as well."""

    code = "home-silent"


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
    return None if room is None else why_full(room, settings)


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
