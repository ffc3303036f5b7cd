"""Whether a server answers."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


def host_and_port(url: str) -> tuple[str, int]:
    """Where a server of this address listens."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


async def answers(host: str, port: int, path: str) -> bool:
    """Whether an HTTP server answers with anything but an error of its own."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                await writer.drain()
                words = (await reader.readline()).split()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return len(words) >= 2 and words[1].isdigit() and int(words[1]) < 500
