"""Corrections of what sessions are charged; the ledger appends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Subquery, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.tables import CorrectionRow
from dachub.model.sessions import Correction

_PREFIX = "correction_"


class CorrectionStore:
    """Reads the history of a session's corrections."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, session_id: UUID) -> list[Correction]:
        """Corrections of a session, the oldest first."""
        columns = CorrectionRow.__table__.columns
        rows = await self._session.execute(
            select(*(columns[name] for name in Correction.model_fields))
            .where(CorrectionRow.session_id == session_id)
            .order_by(CorrectionRow.correction_id)
        )
        return [Correction.model_validate(dict(row)) for row in rows.mappings()]


def latest_corrections() -> Subquery:
    """``session_id`` of all corrected sessions, and what :func:`correction_of` reads."""
    columns = CorrectionRow.__table__.columns
    return (
        select(
            CorrectionRow.session_id,
            *(columns[name].label(_PREFIX + name) for name in Correction.model_fields),
        )
        .ext(distinct_on(CorrectionRow.session_id))
        .order_by(CorrectionRow.session_id, CorrectionRow.correction_id.desc())
        .subquery("latest_correction")
    )


def correction_of(row: Mapping[Any, Any]) -> Correction | None:
    """The latest correction of a session; ``None`` without."""
    if row[f"{_PREFIX}action"] is None:
        return None
    return Correction.model_validate(
        {name: row[_PREFIX + name] for name in Correction.model_fields}
    )
