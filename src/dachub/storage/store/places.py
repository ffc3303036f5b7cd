"""Places, their samples and their limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    ARRAY,
    Select,
    String,
    bindparam,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from dachub.model.storage import Folder, StorageArea, StorageLimit, StorageMethod, StorageSample
from dachub.model.units import day_start
from dachub.storage.models import Place
from dachub.storage.tables import LimitRow, PlaceRow, SampleRow

_SAMPLE = ("bytes", "allocated_bytes", "files", "unreadable", "method")


class PlaceStore:
    """Keeps what was measured; of limits only ever appends."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def places(
        self, *, area: StorageArea | None = None, owners: Collection[str] | None = None
    ) -> list[Place]:
        """Places by area and owner, with their last samples."""
        rows = await self._session.execute(
            _places(of_area=area is not None, of_owners=owners is not None),
            {"area": area and area.value, "owners": list(owners or ())},
        )
        return [_place(place, sample) for place, sample in rows]

    async def oldest_samples(self) -> dict[StorageArea, datetime]:
        """Of each area the oldest of its places' last samples."""
        rows = await self._session.execute(
            select(PlaceRow.area, func.min(PlaceRow.sampled_at))
            .where(PlaceRow.present, PlaceRow.sampled_at.is_not(None))
            .group_by(PlaceRow.area)
        )
        return {StorageArea(area): oldest_at for area, oldest_at in rows if oldest_at is not None}

    async def lock(self, area: StorageArea, owner: str) -> None:
        """Hold a place that is there until the transaction ends."""
        await self._session.execute(
            select(PlaceRow.owner)
            .where(PlaceRow.area == area.value, PlaceRow.owner == owner)
            .with_for_update()
        )

    async def add_sample(
        self, sample: StorageSample, largest: Sequence[Folder], *, known: bool, enforced: bool
    ) -> None:
        """Keep a sample, and make it the place's last unless a later one is there already."""
        values = {name: getattr(sample, name) for name in _SAMPLE}
        statement = insert(SampleRow).values(
            area=sample.area.value,
            owner=sample.owner,
            sampled_at=sample.sampled_at,
            **{**values, "method": sample.method.value},
        )
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["area", "owner", "sampled_at"],
                set_={name: statement.excluded[name] for name in _SAMPLE},
            )
        )
        place = insert(PlaceRow).values(
            area=sample.area.value,
            owner=sample.owner,
            known=known,
            present=True,
            enforced=enforced,
            sampled_at=sample.sampled_at,
            tried_at=sample.sampled_at,
            largest=[folder.model_dump() for folder in largest],
            told_percent=0,
            told_count=0,
        )
        names = ["known", "present", "enforced", "sampled_at", "tried_at"]
        if sample.method is StorageMethod.WALK or largest:  # others know no folders
            names.append("largest")
        await self._session.execute(
            place.on_conflict_do_update(
                index_elements=["area", "owner"],
                set_={name: place.excluded[name] for name in names},
                where=func.coalesce(PlaceRow.sampled_at <= place.excluded.sampled_at, True),
            )
        )

    async def note_tried(self, area: StorageArea, owner: str, at: datetime, *, known: bool) -> None:
        """Note that a place was looked at but not to its end."""
        place = insert(PlaceRow).values(
            area=area.value, owner=owner, known=known, present=True, enforced=False, tried_at=at,
            largest=[], told_percent=0, told_count=0,
        )  # fmt: skip
        await self._session.execute(
            place.on_conflict_do_update(
                index_elements=["area", "owner"], set_={"tried_at": at, "present": True}
            )
        )

    async def note_absent(self, area: StorageArea, present: Collection[str]) -> None:
        """Note which places of an area are there no longer."""
        await self._session.execute(
            update(PlaceRow)
            .where(PlaceRow.area == area.value, PlaceRow.owner.not_in(present), PlaceRow.present)
            .values(present=False, requested_at=None)
        )

    async def note_told(self, area: StorageArea, owner: str, percent: int, count: int) -> None:
        """Note the highest threshold that people were told of."""
        await self._update(area, owner, told_percent=percent, told_count=count)

    async def request(self, area: StorageArea, owner: str, at: datetime | None) -> None:
        """Note that somebody asked to measure a place; ``None`` when it was done."""
        await self._update(area, owner, requested_at=at)

    async def _update(self, area: StorageArea, owner: str, **values: object) -> None:
        await self._session.execute(
            update(PlaceRow)
            .where(PlaceRow.area == area.value, PlaceRow.owner == owner)
            .values(**values)
        )

    async def requested(self) -> list[tuple[StorageArea, str]]:
        """Places that somebody asked to measure, the first to ask first."""
        rows = await self._session.execute(
            select(PlaceRow.area, PlaceRow.owner)
            .where(PlaceRow.requested_at.is_not(None))
            .order_by(PlaceRow.requested_at)
        )
        return [(StorageArea(area), owner) for area, owner in rows]

    async def samples(
        self, area: StorageArea, owner: str, since: datetime, until: datetime
    ) -> list[StorageSample]:
        """Samples of a place in [since, until), by time."""
        rows = await self._session.scalars(
            select(SampleRow)
            .where(
                SampleRow.area == area.value,
                SampleRow.owner == owner,
                SampleRow.sampled_at >= since,
                SampleRow.sampled_at < until,
            )
            .order_by(SampleRow.sampled_at)
        )
        return [_sample(row) for row in rows]

    async def last_between(self, since: datetime, until: datetime) -> list[StorageSample]:
        """The last sample of every place in [since, until)."""
        rows = await self._session.scalars(
            select(SampleRow)
            .where(SampleRow.sampled_at >= since, SampleRow.sampled_at < until)
            .ext(distinct_on(SampleRow.area, SampleRow.owner))
            .order_by(SampleRow.area, SampleRow.owner, SampleRow.sampled_at.desc())
        )
        return [_sample(row) for row in rows]

    async def thin(self, daily_before: datetime) -> int:
        """Of samples before a midnight keep the last of each day, of others that of each hour."""
        later = aliased(SampleRow)
        is_old = SampleRow.sampled_at < day_start(daily_before)
        of_day = func.date_trunc("day", SampleRow.sampled_at, "UTC") + timedelta(days=1)
        of_hour = func.date_trunc("hour", SampleRow.sampled_at, "UTC") + timedelta(hours=1)
        gone = await self._session.scalars(
            delete(SampleRow)
            .where(
                exists().where(
                    tuple_(later.area, later.owner) == tuple_(SampleRow.area, SampleRow.owner),
                    later.sampled_at > SampleRow.sampled_at,
                    (is_old & (later.sampled_at < of_day))
                    | (~is_old & (later.sampled_at < of_hour)),
                )
            )
            .returning(SampleRow.owner)
            .execution_options(synchronize_session=False)
        )
        return len(gone.all())

    async def add_limit(self, limit: StorageLimit) -> None:
        """Append an exception from the site's limits."""
        self._session.add(LimitRow(**{**limit.model_dump(), "area": limit.area.value}))
        await self._session.flush()

    async def limits(
        self, places: Sequence[tuple[StorageArea, str]] | None = None
    ) -> list[StorageLimit]:
        """Exceptions there ever were, of all or some places, the latest last."""
        statement = select(LimitRow).order_by(LimitRow.limit_id)
        if places is not None:
            named = [(area.value, owner) for area, owner in places]
            statement = statement.where(tuple_(LimitRow.area, LimitRow.owner).in_(named))
        rows = await self._session.scalars(statement)
        return [
            StorageLimit(
                area=StorageArea(row.area),
                owner=row.owner,
                bytes=row.bytes,
                files=row.files,
                reason=row.reason,
                author=row.author,
                at=row.at,
            )
            for row in rows
        ]


def _sample(row: SampleRow) -> StorageSample:
    return StorageSample(
        area=StorageArea(row.area),
        owner=row.owner,
        bytes=row.bytes,
        allocated_bytes=row.allocated_bytes,
        files=row.files,
        unreadable=row.unreadable,
        sampled_at=row.sampled_at,
        method=StorageMethod(row.method),
    )


@cache
def _places(*, of_area: bool, of_owners: bool) -> Select[PlaceRow, SampleRow]:
    """Made once: every decision on a start asks for it, and making it costs more than asking."""
    places = (
        select(PlaceRow, SampleRow)
        .outerjoin(
            SampleRow,
            (SampleRow.area == PlaceRow.area)
            & (SampleRow.owner == PlaceRow.owner)
            & (SampleRow.sampled_at == PlaceRow.sampled_at),
        )
        .order_by(PlaceRow.area, PlaceRow.owner)
        .execution_options(populate_existing=True)
    )
    if of_area:
        places = places.where(PlaceRow.area == bindparam("area"))
    if of_owners:
        places = places.where(PlaceRow.owner == func.any(bindparam("owners", type_=ARRAY(String))))
    return places


def _place(row: PlaceRow, sample: SampleRow | None) -> Place:
    return Place(
        area=StorageArea(row.area),
        owner=row.owner,
        known=row.known,
        present=row.present,
        enforced=row.enforced,
        sample=None if sample is None else _sample(sample),
        tried_at=row.tried_at,
        requested_at=row.requested_at,
        largest=[Folder.model_validate(folder) for folder in row.largest],
        told_percent=row.told_percent,
        told_count=row.told_count,
    )
