"""Whether a home has the room that a server needs, in words for its owner."""

from __future__ import annotations

import errno
import os

from pydantic import BaseModel

from dachub.hub.settings import RescueSettings
from dachub.model.units import spoken_bytes


class Room(BaseModel):
    """What :mod:`dachub.model.probe` saw; without a home only the error."""

    error: int
    free_bytes: int | None = None
    total_bytes: int = 0
    free_files: int | None = None


def why_full(room: Room, settings: RescueSettings) -> str | None:
    """Why a home is as good as full; ``None`` where it has room, or is not there."""
    if room.free_bytes is None:
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
