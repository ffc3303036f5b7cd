"""Text from outside, made fit to be stored and shown."""

from __future__ import annotations

import unicodedata

from dachub.model.problems import InvalidInput

REASON_MAX_CHARACTERS = 1000

_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
_DIRECTION = frozenset(
    "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)


def clean(text: str, length: int) -> str:
    """``text`` on one line, at most ``length`` characters, without control characters.

    PostgreSQL stores neither NUL nor half a surrogate pair; characters that change the direction of
    writing could make a name read as another one.
    """
    kept = (
        " " if character.isspace() else character
        for character in text[: 4 * length]
        if character.isspace()
        or (unicodedata.category(character) not in _UNPRINTABLE and character not in _DIRECTION)
    )
    return " ".join("".join(kept).split())[:length].rstrip()


def given_reason(text: str, missing: str) -> str:
    """A reason on one line; it is kept for good, so nothing of it is cut.

    Raises
    ------
    InvalidInput
        With ``missing`` as its message where there is none; if it is too long.
    """
    reason = clean(text, REASON_MAX_CHARACTERS + 1)
    if not reason:
        raise InvalidInput(missing)
    if len(reason) > REASON_MAX_CHARACTERS:
        raise InvalidInput(f"The reason is longer than {REASON_MAX_CHARACTERS} characters.")
    return reason


def clean_lines(text: str, length: int) -> str:
    """As :func:`clean`, keeping line breaks."""
    lines = (clean(line, length) for line in text[: 4 * length].splitlines())
    return "\n".join(lines).strip()[:length].rstrip()
