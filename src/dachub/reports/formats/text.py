"""Text as narrow formats can carry it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from functools import lru_cache

XDMOD_NAME_MAX = 30
_DIGEST = 8


def is_plain(text: str) -> bool:
    """Whether ``text`` is all visible ASCII and blanks."""
    return text.isascii() and text.isprintable()


def plain(text: str, instead: str = "_", *, forbidden: str = "") -> str:
    """``text`` in visible ASCII: what is not, or is ``forbidden``, becomes ``instead``."""
    if is_plain(text) and set(forbidden).isdisjoint(text):
        return text
    return "".join(
        letter if " " <= letter <= "~" and letter not in forbidden else instead for letter in text
    )


@lru_cache(maxsize=10_000)
def xdmod_name(name: str) -> str:
    """A username as Open XDMoD can store it everywhere: long or odd ones end with a digest.

    Its storage realm takes 30 characters, ours may have 32; the same person must have the same name
    in every file.
    """
    safe = plain(name, forbidden="| ")
    if safe == name and 0 < len(name) <= XDMOD_NAME_MAX:
        return name
    suffix = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST]
    return f"{safe[: XDMOD_NAME_MAX - _DIGEST - 1].rstrip('-')}-{suffix}"


async def packed(
    records: AsyncIterator[str], limit_bytes: int, *, head: str, tail: str = ""
) -> AsyncIterator[bytes]:
    """ASCII records as messages from ``head`` to ``tail`` that each stay below ``limit_bytes``.

    A record that is too long alone makes a message that is too long.
    """
    parts: list[str] = []
    size_bytes = empty_bytes = len(head) + len(tail)
    async for record in records:
        if parts and size_bytes + len(record) >= limit_bytes:
            yield "".join((head, *parts, tail)).encode("ascii")
            parts, size_bytes = [], empty_bytes
        parts.append(record)
        size_bytes += len(record)
    if parts:
        yield "".join((head, *parts, tail)).encode("ascii")
