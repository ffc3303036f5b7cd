"""Many rows in one statement: as arrays, or by PostgreSQL's COPY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Identifier
from sqlalchemy import ARRAY, TableValuedAlias, func, literal
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase


def rows_of(
    table: type[DeclarativeBase], names: Sequence[str], records: Sequence[Mapping[str, Any]]
) -> TableValuedAlias:
    """``records`` as a table ``new`` with the columns ``names``, typed as those of ``table``."""
    columns = table.__table__.columns
    arrays = [
        literal([record[name] for record in records], ARRAY(columns[name].type)) for name in names
    ]
    return (
        func.unnest(*arrays)
        .table_valued(*(columns[name] for name in names), name="new")
        .render_derived()
    )


async def copy_rows(
    session: AsyncSession,
    table: type[DeclarativeBase],
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> None:
    """Add rows to the columns ``names`` of a table, in the order in which they come."""
    statement = SQL("copy {} ({}) from stdin").format(
        Identifier(table.__tablename__), SQL(", ").join(map(Identifier, names))
    )
    connection = await (await session.connection()).get_raw_connection()
    assert connection.driver_connection is not None  # noqa: S101  just connected
    async with connection.driver_connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)
