"""Downloads: CSV for people, Parquet for programs; sent while they are read, in constant memory.

Amounts are the ledger's integers, with their unit in the column's name; hours beside them are
rounded, for reading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a text for a formula."""


class Format(StrEnum):
    """In which form a download comes; the value ends its address."""

    CSV = "csv"
    PARQUET = "parquet"


class Type(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    LARGE = "large"  # an integer that may need more than 64 bits
    NUMBER = "number"
    FLAG = "flag"
    DAY = "day"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how to read it from a row."""

    name: str
    type: Type
    value: Callable[[Any], Any]


Batches = AsyncIterator[Sequence[Any]]
"""Rows, some at a time."""


async def download(
    name: str, form: Format, columns: Sequence[Column], batches: Batches
) -> Response:
    """Send rows as a file; what is refused when the first are read is refused as a page is."""
    first: Sequence[Any] = await anext(batches, [])
    encoder = await run_in_threadpool(_ENCODERS[form], columns)

    async def content() -> AsyncIterator[bytes]:
        yield await run_in_threadpool(encoder.encode, first)
        async for rows in batches:
            yield await run_in_threadpool(encoder.encode, rows)
        yield await run_in_threadpool(encoder.finish)

    return StreamingResponse(
        content(),
        media_type=_MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}.{form}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


class _Encoder(Protocol):
    def encode(self, rows: Iterable[Any]) -> bytes: ...

    def finish(self) -> bytes: ...


class _Csv:
    """RFC 4180 in UTF-8, with one line of names."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow([column.name for column in columns])

    def encode(self, rows: Iterable[Any]) -> bytes:
        rows = list(rows)
        cells = [_cells(column, rows) for column in self._columns]
        self._writer.writerows(zip(*cells, strict=True))
        return self.finish()

    def finish(self) -> bytes:
        written = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return written.encode()


def _cells(column: Column, rows: Sequence[Any]) -> Sequence[Any]:
    """A column as it is written; what is missing stays empty."""
    values = [column.value(row) for row in rows]
    write = _WRITTEN.get(column.type)
    if write is None:
        return values
    return [None if value is None else write(value) for value in values]


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text


def _moment(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"


_WRITTEN: dict[Type, Callable[[Any], str]] = {
    Type.TEXT: _no_formula,
    Type.FLAG: lambda flag: str(flag).lower(),
    Type.DAY: date.isoformat,
    Type.MOMENT: _moment,
}
"""How CSV has what is no number."""


class _Parquet:
    """A row group for each batch."""

    def __init__(self, columns: Sequence[Column]) -> None:
        # Imported with the first such download: the service starts without it.
        import pyarrow
        from pyarrow import parquet

        types = {
            Type.TEXT: pyarrow.string(),
            Type.INTEGER: pyarrow.int64(),
            Type.LARGE: pyarrow.decimal128(38, 0),
            Type.NUMBER: pyarrow.float64(),
            Type.FLAG: pyarrow.bool_(),
            Type.DAY: pyarrow.date32(),
            Type.MOMENT: pyarrow.timestamp("ms", tz="UTC"),
        }
        self._columns = columns
        self._schema = pyarrow.schema([(column.name, types[column.type]) for column in columns])
        self._table = pyarrow.Table.from_pydict
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def encode(self, rows: Iterable[Any]) -> bytes:
        rows = list(rows)
        if rows:
            values = {
                column.name: [_exact(column, row) for row in rows] for column in self._columns
            }
            self._writer.write_table(self._table(values, schema=self._schema))
        return self._sink.take()

    def finish(self) -> bytes:
        self._writer.close()
        return self._sink.take()


def _exact(column: Column, row: Any) -> Any:
    value = column.value(row)
    return Decimal(value) if column.type is Type.LARGE and value is not None else value


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


_ENCODERS: dict[Format, Callable[[Sequence[Column]], _Encoder]] = {
    Format.CSV: _Csv,
    Format.PARQUET: _Parquet,
}
_MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
}
