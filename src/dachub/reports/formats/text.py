"""Text as narrow formats can carry it."""

from __future__ import annotations

import hashlib

XDMOD_NAME_MAX = 30
_DIGEST = 8


def plain(text: str, instead: str = "_", *, forbidden: str = "") -> str:
    """``text`` in visible ASCII: what is not, or is ``forbidden``, becomes ``instead``."""
    return "".join(
        letter if " " <= letter <= "~" and letter not in forbidden else instead for letter in text
    )


def xdmod_name(username: str) -> str:
    """A username as Open XDMoD can store it everywhere: long ones end with a digest instead.

    Its storage realm takes 30 characters, ours may have 32; the same person must have the same name
    in every file.
    """
    if len(username) <= XDMOD_NAME_MAX:
        return username
    suffix = hashlib.sha256(username.encode()).hexdigest()[:_DIGEST]
    return f"{username[: XDMOD_NAME_MAX - _DIGEST - 1].rstrip('-')}-{suffix}"
