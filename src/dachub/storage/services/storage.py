"""What is kept where, now and in the past, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import GroupService, PeopleService
from dachub.infra.clock import Clock
from dachub.model.names import is_username
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.problems import NotFound, PermissionDenied
from dachub.model.storage import StorageArea, StorageSample, StorageState, StorageUse
from dachub.model.units import day_start, midnight, spoken_bytes
from dachub.notices.services import NoticeService
from dachub.quota.models import RescueReason
from dachub.storage.models import (
    Allowed,
    Limits,
    Measurement,
    NotMeasured,
    Place,
    ResampledJustNow,
    SamplingJob,
    place_key,
)
from dachub.storage.services.limits import LimitService, require_reader
from dachub.storage.settings import StorageSettings
from dachub.storage.store.places import PlaceStore

HOURLY_DAYS = 30
"""For how long every hour is kept; of earlier days the last sample stays."""
FULL_PERCENT = 100
TURN_SECONDS = 60
"""For how long a place is walked before others have their turn."""
REQUEST_LOST_SECONDS = 600
"""A measurement that was asked for longer ago is asked for again: it was lost, or is very long."""

OVER_STORAGE = "over-storage-quota"


class StorageService:
    """Keeps what was measured, tells people in time, and says who may only start a rescue."""

    def __init__(
        self,
        store: PlaceStore,
        limits: LimitService,
        people: PeopleService,
        groups: GroupService,
        notices: NoticeService,
        clock: Clock,
        settings: StorageSettings,
        contact: str,
    ) -> None:
        self._store = store
        self._limits = limits
        self._people = people
        self._groups = groups
        self._notices = notices
        self._clock = clock
        self._settings = settings
        self._contact = contact

    # --- Reading --------------------------------------------------------------------------------

    async def now(
        self, by: Principal, *, area: StorageArea | None = None, owner: str | None = None
    ) -> Sequence[StorageUse]:
        """What is kept now: of one place, else of all that ``by`` may see.

        Those are one's own home and the folders of one's groups; for administrators all there are.

        Raises
        ------
        PermissionDenied
        """
        if by.kind is PrincipalKind.HUB:
            raise PermissionDenied("The hub keeps nothing.")
        if owner is not None:
            area = area or StorageArea.HOME
            require_reader(by, area, owner)
            return [await self.of(area, owner)]
        places = await self._store.places(area=area)
        seen = [place for place in places if by.is_administrator or _is_of(place, by)]
        limits = await self._limits.of([(place.area, place.owner) for place in seen])
        return [self._use(place, limit) for place, limit in zip(seen, limits, strict=True)]

    async def of(self, area: StorageArea, owner: str) -> StorageUse:
        """What is kept in a place, measured or not; asks nobody's rights."""
        return self._use(*await self._place(area, owner))

    async def history(
        self, by: Principal, area: StorageArea, owner: str, since: datetime, until: datetime
    ) -> Sequence[StorageSample]:
        """Samples of a place in [since, until), by time: hourly for 30 days, before that daily.

        Raises
        ------
        PermissionDenied
        """
        require_reader(by, area, owner)
        return await self._store.samples(area, owner, since, until)

    async def daily(self, day: date) -> Sequence[StorageSample]:
        """The last sample of each place on ``day`` (UTC); asks nobody's rights."""
        since = midnight(day)
        return await self._store.last_between(since, since + timedelta(days=1))

    # --- What follows ---------------------------------------------------------------------------

    async def check_start(self, username: str, group: str) -> RescueReason | None:
        """Why only a rescue session would do: home or group folder hold more than they may.

        Old figures keep nobody from anything. Whoever is kept is measured again at once.
        """
        asked_for = ((StorageArea.HOME, username), (StorageArea.GROUP, group))
        known = [
            place
            for place in await self._store.places(owners={username, group})
            if (place.area, place.owner) in asked_for and self._fresh_sample(place) is not None
        ]
        limits = await self._limits.of([(place.area, place.owner) for place in known])
        for place, limit in sorted(
            zip(known, limits, strict=True), key=lambda pair: pair[0].area is StorageArea.GROUP
        ):
            use = self._use(place, limit.that_bind())
            if use.state is StorageState.OVER:
                if not self._is_under_way(place):
                    await self._store.request(place.area, place.owner, self._clock.now())
                return RescueReason(OVER_STORAGE, use.message)
        return None

    async def resample(self, by: Principal, area: StorageArea, owner: str) -> StorageUse:
        """Measure a place anew, soon; what is found shows in :meth:`now`.

        Raises
        ------
        PermissionDenied
        NotMeasured
            If there is no such directory.
        ResampledJustNow
            If it was measured, or asked for, only seconds ago.
        """
        require_reader(by, area, owner)
        await self._store.lock(area, owner)
        place, _ = await self._place(area, owner)
        if not place.present:
            raise NotMeasured(f"There is nothing of '{owner}' to measure ({area.value}).")
        now = self._clock.now()
        again = timedelta(seconds=self._settings.resample_seconds)
        if self._is_under_way(place) or (place.sample and place.sample.sampled_at > now - again):
            raise ResampledJustNow(
                "It was measured, or is being measured, only a moment ago. Look at the figures, "
                f"and try again after {self._settings.resample_seconds} seconds."
            )
        await self._store.request(area, owner, now)
        return await self.of(area, owner)

    # --- Measuring ------------------------------------------------------------------------------

    async def job(self, *, requested: bool = False) -> SamplingJob | None:
        """What is to be measured now; ``None`` if nobody asked, where only that is wanted."""
        only = [place_key(*place) for place in await self._store.requested()] if requested else None
        if only == []:
            return None
        settings = self._settings
        places = await self._store.places()
        limits = await self._limits.of([(place.area, place.owner) for place in places])
        return SamplingJob(
            areas={StorageArea.HOME: settings.homes, StorageArea.GROUP: settings.groups},
            state=settings.state,
            method=settings.method,
            processes=settings.processes,
            files_per_second=settings.files_per_second,
            turn_seconds=TURN_SECONDS,
            only=only,
            tried_at={
                place_key(place.area, place.owner): place.tried_at
                for place in places
                if place.tried_at is not None
            },
            due_before=self._clock.now() - timedelta(seconds=settings.every_seconds),
            defaults=self._limits.defaults() if settings.enforce else {},
            allowed={
                place_key(place.area, place.owner): Allowed(bytes=limit.bytes, files=limit.files)
                for place, limit in zip(
                    places, (limit.that_bind() for limit in limits), strict=True
                )
            }
            if settings.enforce
            else {},
        )

    async def due(self, area: StorageArea, owners: Collection[str]) -> set[str]:
        """Whose place was measured long ago, or never, or is to be measured again."""
        before = self._clock.now() - timedelta(seconds=self._settings.every_seconds)
        places = await self._store.places(area=area, owners=list(owners))
        return set(owners) - {
            place.owner
            for place in places
            if place.tried_at is not None and place.tried_at > before and place.requested_at is None
        }

    async def record(
        self,
        area: StorageArea,
        owner: str,
        measured: Measurement,
        *,
        enforced: bool = False,
        requested: bool = False,
    ) -> StorageUse:
        """Keep what was measured just now, and tell people where a threshold was passed.

        Parameters
        ----------
        requested
            Somebody asked for it: what was measured of its own accord may be from before they did.
        """
        if await self._is_left_behind(area, owner):
            return self._use(*await self._place(area, owner))
        sample = StorageSample(
            area=area,
            owner=owner,
            sampled_at=self._clock.now(),
            **measured.model_dump(exclude={"largest"}),
        )
        known = await self._is_known(area, owner)
        await self._store.add_sample(sample, measured.largest, known=known, enforced=enforced)
        if requested:
            await self._store.request(area, owner, None)
        place, limits = await self._place(area, owner)
        if known:
            await self._tell(place, limits)
        return self._use(place, limits)

    async def note_tried(self, area: StorageArea, owner: str, *, give_up: bool = False) -> None:
        """Note that a place was looked at without a result; others have their turn first.

        Parameters
        ----------
        give_up
            Whoever asked to measure it gets no answer: it cannot be measured.
        """
        if await self._is_left_behind(area, owner):
            return
        known = await self._is_known(area, owner)
        await self._store.note_tried(area, owner, self._clock.now(), known=known)
        if give_up:
            await self._store.request(area, owner, None)

    async def note_present(self, area: StorageArea, owners: Collection[str]) -> None:
        """Note which places of an area there are; of others the past stays."""
        await self._store.note_absent(area, owners)

    async def oldest_samples(self) -> Mapping[StorageArea, datetime]:
        """When the place was measured whose last sample is the oldest, by area."""
        return await self._store.oldest_samples()

    async def thin(self) -> int:
        """Forget what is neither the last of its hour nor, after 30 days, of its day.

        Returns
        -------
        int
            How many samples were forgotten.
        """
        return await self._store.thin(day_start(self._clock.now()) - timedelta(days=HOURLY_DAYS))

    # --- Inside ---------------------------------------------------------------------------------

    async def _place(self, area: StorageArea, owner: str) -> tuple[Place, Limits]:
        found = await self._store.places(area=area, owners=[owner])
        (limits,) = await self._limits.of([(area, owner)])
        return (found[0] if found else Place(area, owner)), limits

    async def _is_left_behind(self, area: StorageArea, owner: str) -> bool:
        """Whether it is the home of somebody who was forgotten: nothing is kept by their name."""
        return area is StorageArea.HOME and await self._people.is_forgotten(owner)

    async def _is_known(self, area: StorageArea, owner: str) -> bool:
        try:
            if area is StorageArea.GROUP:
                await self._groups.title(owner)
            else:
                await self._people.person(owner)
        except NotFound:
            return False
        return True

    def _is_under_way(self, place: Place) -> bool:
        lost = self._clock.now() - timedelta(seconds=REQUEST_LOST_SECONDS)
        return place.requested_at is not None and place.requested_at > lost

    def _fresh_sample(self, place: Place) -> StorageSample | None:
        """The sample from which anything may follow: neither an old one nor one of the future."""
        if place.sample is None or not place.present:
            return None
        age_seconds = (self._clock.now() - place.sample.sampled_at).total_seconds()
        return place.sample if abs(age_seconds) <= self._settings.stale_seconds else None

    def _use(self, place: Place, limits: Limits) -> StorageUse:
        state, message = StorageState.UNKNOWN, ""
        if (fresh := self._fresh_sample(place)) is not None:
            state = self._state(_percent(fresh, limits))
            if state in {StorageState.WARNED, StorageState.OVER}:
                message = self._message(fresh, limits, state)
        return StorageUse(
            area=place.area,
            owner=place.owner,
            known=place.known,
            sample=place.sample if place.present else None,
            limit_bytes=limits.bytes,
            limit_files=limits.files,
            enforced=place.enforced,
            state=state,
            message=message,
            largest=list(place.largest) if place.present else [],
            measured_again_at=place.requested_at if self._is_under_way(place) else None,
        )

    def _state(self, percent: int) -> StorageState:
        if percent >= FULL_PERCENT:
            return StorageState.OVER
        warned = percent >= min(self._settings.warn_at_percent, default=FULL_PERCENT)
        return StorageState.WARNED if warned else StorageState.OK

    def _message(self, sample: StorageSample, limits: Limits, state: StorageState) -> str:
        held = _held(sample, limits)
        is_home = sample.area is StorageArea.HOME
        what = "Your home" if is_home else f"The folder of the group '{sample.owner}'"
        if state is StorageState.WARNED:
            return f"{what} holds {held}. Delete or move what is not needed before it is full."
        consequence = (
            " Until it holds less, only a rescue session can be started, to make room."
            if _percent(sample, limits.that_bind()) >= FULL_PERCENT
            else ""
        )
        return (
            f"{what} holds {held}: it is full.{consequence} Delete or move what is not needed, "
            f"the largest folders first. For more room, ask {self._contact}."
        )

    async def _tell(self, place: Place, limits: Limits) -> None:
        """Tell of the highest threshold passed, once until the place was below it again."""
        sample = self._fresh_sample(place)
        if sample is None:
            return
        percent = _percent(sample, limits)
        thresholds = sorted({*self._settings.warn_at_percent, FULL_PERCENT})
        passed = max((each for each in thresholds if percent >= each), default=0)
        if passed == place.told_percent:
            return
        count = place.told_count + (passed > place.told_percent)
        await self._store.note_told(place.area, place.owner, passed, count)
        if passed < place.told_percent:
            return
        is_full = passed >= FULL_PERCENT
        is_home = place.area is StorageArea.HOME
        named = "Your home" if is_home else f"The folder of '{place.owner}'"
        await self._notices.give(
            await self._readers(place, everybody=is_full),
            key=f"storage/{place.area.value}/{place.owner}/{count}",
            kind=NoticeKind.STORAGE,
            severity=Severity.URGENT if is_full else Severity.WARNING,
            title=f"{named} is full" if is_full else f"{named} is {percent} % full",
            text=self._message(sample, limits, self._state(percent)),
            group=None if is_home else place.owner,
        )

    async def _readers(self, place: Place, *, everybody: bool) -> Sequence[str]:
        """Whom a place's fullness concerns: its person; of a group first those who manage it."""
        if place.area is StorageArea.HOME:
            return [place.owner]
        members = await self._groups.members(place.owner)
        return [
            member.username
            for member in members
            if everybody or member.role.rank >= Role.MANAGER.rank
        ]


def _is_of(place: Place, by: Principal) -> bool:
    if place.area is StorageArea.GROUP:
        return place.owner in by.roles
    return place.owner == by.name and is_username(place.owner)


def _percent(sample: StorageSample, limits: Limits) -> int:
    """How much of its tighter limit a place holds; of a limit of nothing, all."""
    shares = [
        100 * held // allowed if allowed else FULL_PERCENT
        for held, allowed in (
            (sample.allocated_bytes, limits.bytes),
            (sample.files, limits.files),
        )
        if allowed is not None
    ]
    return max(shares, default=0)


def _held(sample: StorageSample, limits: Limits) -> str:
    parts = []
    if limits.bytes is not None:
        parts.append(
            f"{spoken_bytes(sample.allocated_bytes)} of {spoken_bytes(limits.bytes)} allowed"
        )
    if limits.files is not None:
        parts.append(f"{sample.files:,} of {limits.files:,} files allowed")
    return " and ".join(parts)
