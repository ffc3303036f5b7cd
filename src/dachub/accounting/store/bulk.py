"""Many rows in one statement, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, TableValuedAlias, func, literal
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
