"""A TCP way to a PostgreSQL, which can be interrupted without either end being told."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path


class Cable:
    """Passes bytes between a port of this machine and PostgreSQL's socket.

    Parameters
    ----------
    socket
        PostgreSQL's own, below the directory that its URL names as host.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._passing: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def interrupt(self) -> None:
        """Keep everything that is sent from now on, the ends of connections included."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Pass on what was kept, and what follows."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def close(self) -> None:
        """Break all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connect, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_unix_connection(self._socket)
        for each in (self._pass(reader, questions), self._pass(answers, writer)):
            task = asyncio.create_task(each)
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while content := await reader.read(65536):
                await self._whole.wait()
                writer.write(content)
                await writer.drain()
            await self._whole.wait()
        except ConnectionError:
            pass
        finally:
            writer.close()
