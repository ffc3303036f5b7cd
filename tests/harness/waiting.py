"""Waiting for what will be so, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
PAUSE_SECONDS = 0.1


def until(
    condition: Callable[[], Value | None],
    what: str,
    seconds: float = 30,
    pause_seconds: float = PAUSE_SECONDS,
) -> Value:
    """Poll ``condition`` until it is true and give what it returned.

    Raises
    ------
    AssertionError
        If ``what`` was not so after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not so after {seconds} s (last: {value!r})")
        time.sleep(pause_seconds)
