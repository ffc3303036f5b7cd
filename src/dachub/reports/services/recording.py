"""Records an export piece by piece as it is made, so that it is never in memory as a whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from dachub.model.exports import ExportFile
from dachub.reports.models import Draft, Piece
from dachub.reports.store.exports import ExportStore


@dataclass(slots=True)
class _Growing:
    """The file whose pieces are coming."""

    name: str
    number: int
    parts: int = 0
    size_bytes: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def grow(self, content: bytes) -> None:
        self.parts += 1
        self.size_bytes += len(content)
        self.digest.update(content)


class Recording:
    """What there is to write of one export. Without pieces nothing is recorded.

    If one cannot be made, the transaction must be rolled back: what came before it is recorded.
    """

    def __init__(
        self,
        store: ExportStore,
        draft: Draft,
        *,
        destination: str,
        by: str,
        at: datetime,
        ending: str | None,
    ) -> None:
        """``ending`` follows a digest of the content in files' names; ``None`` leaves the names."""
        self._store = store
        self._draft = draft
        self._destination = destination
        self._by = by
        self._at = at
        self._ending = ending
        self._run_id: int | None = None
        self._file: _Growing | None = None

    async def add(self, piece: Piece) -> None:
        """Keep the next piece."""
        if self._run_id is None:
            self._run_id = await self._store.begin(
                self._draft, self._destination, self._by, self._at
            )
        file = self._file
        if file is None or file.name != piece.file:
            await self._close()
            file = self._file = _Growing(piece.file, file.number + 1 if file else 1)
        file.grow(piece.content)
        await self._store.keep_part(self._run_id, file.number, file.parts, piece.content)
        await self._store.keep_items(self._run_id, self._draft.format, piece.items)

    async def finish(self) -> int | None:
        """Keep what it came to; the run's number, or ``None`` if there was nothing."""
        await self._close()
        if self._run_id is not None:
            await self._store.complete(self._run_id, self._draft)
        return self._run_id

    async def _close(self) -> None:
        file = self._file
        if file is None or self._run_id is None:
            return
        sha256 = file.digest.hexdigest()
        name = file.name if self._ending is None else f"{file.name}-{sha256[:8]}{self._ending}"
        await self._store.keep_file(
            self._run_id,
            file.number,
            ExportFile(name=name, size_bytes=file.size_bytes, sha256=sha256),
        )
