"""``python -m dachub.client.start``: what a person's pod runs, before and as their server.

A home without room would let the server die, or worse, live and lose what is saved. So it is looked
at first, as its owner and from where it is mounted; the hub reads what was seen from the pod's last
words, and starts a rescue session instead.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dachub.model.probe import NO_ROOM, look

SERVER = "jupyterhub-singleuser"
GROUPS_LINK = "groups"
LAST_WORDS = Path("/dev/termination-log")


def has_room(seen: Mapping[str, int | None], environ: Mapping[str, str]) -> bool:
    """Whether a home that was looked at has the room that the hub asks for."""
    if seen.get("free_bytes") is None:
        return True  # no home of its own: what is missing is no matter of room
    free_files = seen["free_files"]
    return (
        not seen["error"]
        and (seen["free_bytes"] or 0) >= int(environ.get("DACHUB_FREE_BYTES_MIN", 0))
        and (free_files is None or free_files >= int(environ.get("DACHUB_FREE_FILES_MIN", 0)))
    )


def prepare(last_words: Path = LAST_WORDS) -> int:
    """Look at the home and make what the server needs; 0, or the status to end with."""
    home = os.environ.get("HOME", "/")
    if "DACHUB_RESCUE" in os.environ:
        if scratch := os.environ.get("DACHUB_SCRATCH"):
            for place in os.environ.values():
                if place.startswith(f"{scratch}/"):
                    Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        seen = look(home)
        if not has_room(seen, os.environ):
            last_words.write_text(json.dumps(seen), encoding="utf-8")
            return NO_ROOM
        if folders := os.environ.get("DACHUB_GROUP_FOLDERS"):
            with suppress(OSError):  # what of that name is there already is theirs and stays
                (Path(home) / GROUPS_LINK).symlink_to(folders)
    return 0


if __name__ == "__main__":
    if status := prepare():
        sys.exit(status)
    os.execvp(SERVER, [SERVER, *sys.argv[1:]])  # noqa: S606  no shell meant
