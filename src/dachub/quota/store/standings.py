"""Where everybody was last seen to stand, and what the enforcement saw of clocks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.allocations import MemberLimit
from dachub.model.usage import QuotaState, Resource
from dachub.quota.models import Facts, Standing, Watch
from dachub.quota.store.limits import GROUPS, latest_limits
from dachub.quota.tables import EnforcementRow, StandingRow

ENFORCEMENT_LOCK = 0x64616368756204
_WATCH = [field.name for field in fields(Watch)]


class StandingStore:
    """Reads standings of many groups at once; keeps them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def try_lock(self) -> bool:
        """Whether nobody else is enforcing; held until the transaction ends."""
        return bool(
            await self._session.scalar(select(func.pg_try_advisory_xact_lock(ENFORCEMENT_LOCK)))
        )

    async def watch(self) -> Watch | None:
        """What the last run of the enforcement saw; ``None`` before the first."""
        columns = EnforcementRow.__table__.columns
        rows = await self._session.execute(select(*(columns[name] for name in _WATCH)))
        row = rows.first()
        return None if row is None else Watch(*row)

    async def put_watch(self, watch: Watch) -> None:
        """Keep what this run saw."""
        values = {name: getattr(watch, name) for name in _WATCH}
        await self._session.execute(
            insert(EnforcementRow)
            .values(row=1, **values)
            .on_conflict_do_update(index_elements=["row"], set_=values)
        )

    async def facts(self, groups: Collection[str] | None) -> Facts:
        """Limits and standings of groups (all: ``None``), in one statement."""
        found = await self._session.execute(
            _facts(of_all=groups is None), {"groups": list(groups or ())}
        )
        row = found.one()
        limits, standings = row
        return Facts(
            limits=[MemberLimit.model_validate(one) for one in limits if one["amount"] is not None],
            standings={
                (one["group"], Resource(one["resource"]), one["username"]): Standing(
                    state=QuotaState(one["state"]),
                    since=_moment(one["state_since"]),
                    period=_moment(one["period_since"]),
                    told_percent=one["told_percent"],
                    spent_at=_moment(one["spent_at"]),
                )
                for one in standings
            },
        )

    async def of_groups(self) -> dict[tuple[str, ...], int]:
        """(resource, state) -> groups that stand so with their quota."""
        rows = await self._session.execute(
            select(StandingRow.resource, StandingRow.state, func.count())
            .where(StandingRow.username == "")
            .group_by(StandingRow.resource, StandingRow.state)
        )
        return {(resource, state): count for resource, state, count in rows}

    async def put(self, group: str, resource: Resource, username: str, standing: Standing) -> None:
        """Keep where a group, or a person in it, stands."""
        values = {
            "state": standing.state.value,
            "state_since": standing.since,
            "period_since": standing.period,
            "told_percent": standing.told_percent,
            "spent_at": standing.spent_at,
        }
        await self._session.execute(
            insert(StandingRow)
            .values(group=group, resource=resource.value, username=username, **values)
            .on_conflict_do_update(index_elements=["group", "resource", "username"], set_=values)
        )


@cache
def _facts(*, of_all: bool) -> Select[*tuple[Any, ...]]:
    """Made once: every decision on a start asks for it, and making it costs more than asking."""
    queries = (latest_limits(of_all=of_all), _standings(of_all=of_all))
    return select(*map(_as_json, queries))


def _standings(*, of_all: bool) -> Select[Any]:
    columns = StandingRow.__table__.columns
    found = select(*columns)
    return found if of_all else found.where(columns["group"] == func.any(GROUPS))


def _as_json(query: Select[*tuple[Any, ...]]) -> ScalarSelect[Any]:
    """All rows of a query as one value, so that several travel together."""
    rows = query.subquery()
    whole = func.jsonb_agg(func.to_jsonb(rows.table_valued()))
    return select(func.coalesce(whole, text("'[]'::jsonb"))).select_from(rows).scalar_subquery()


def _moment(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told).astimezone(UTC)
