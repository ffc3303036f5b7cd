"""Waiting for what will be so, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

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


async def waits_for_a_lock(engine: AsyncEngine) -> None:
    """Return once somebody waits for what another transaction holds."""
    async with asyncio.timeout(10), engine.connect() as connection:
        while True:
            waiting = await connection.exec_driver_sql(
                "select count(*) from pg_locks where not granted"
            )
            if waiting.scalar_one():
                return
            await connection.rollback()
            await asyncio.sleep(0.02)
