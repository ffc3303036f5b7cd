"""Work on many rows at once, in which one that goes wrong holds up no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

Part = TypeVar("Part")


async def in_parts(
    session: AsyncSession,
    parts: Sequence[Part],
    act: Callable[[Sequence[Part]], Awaitable[None]],
) -> list[tuple[Part, Exception]]:
    """Act on all of ``parts``; where that does not go, on halves: few bad ones cost little.

    Returns
    -------
    list of tuple
        Those for which nothing was done, each with what went wrong.
    """
    if not parts:
        return []
    try:
        async with session.begin_nested():
            await act(parts)
    except Exception as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        if len(parts) == 1:
            return [(parts[0], error)]
    else:
        return []
    half = len(parts) // 2
    return [
        *await in_parts(session, parts[:half], act),
        *await in_parts(session, parts[half:], act),
    ]
