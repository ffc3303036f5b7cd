"""What places may hold: the site's defaults, exceptions from them, allocations of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dachub.directory.models import Principal
from dachub.directory.services import AuditService, GroupService, PeopleService
from dachub.directory.services.text import given_reason
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput
from dachub.model.storage import StorageArea, StorageLimit
from dachub.model.usage import AllocationRecord, Policy, Resource
from dachub.quota.services import AllocationService
from dachub.storage.models import Allowed, Limits
from dachub.storage.settings import StorageSettings
from dachub.storage.store.places import PlaceStore

AMOUNT_MAX = 2**60
FEW = 10
"""So many places are looked for by name; for more all are read."""
LENIENT = (Policy.ALLOW, Policy.WARN)


class LimitService:
    """Knows and changes what places may hold; a change is appended, with author and reason."""

    def __init__(
        self,
        store: PlaceStore,
        people: PeopleService,
        groups: GroupService,
        allocations: AllocationService,
        audit: AuditService,
        clock: Clock,
        settings: StorageSettings,
    ) -> None:
        self._store = store
        self._people = people
        self._groups = groups
        self._allocations = allocations
        self._audit = audit
        self._clock = clock
        self._settings = settings

    async def of(self, places: Sequence[tuple[StorageArea, str]]) -> Sequence[Limits]:
        """What each of ``places`` may hold now; asks nobody's rights.

        The latest exception counts before the site's default. What a group may hold in bytes are
        its allocations of file-bytes in force, together; nothing follows from them unless one of
        them says so.
        """
        if not places:
            return []
        exceptions = {
            (limit.area, limit.owner): limit
            for limit in await self._store.limits(None if len(places) > FEW else places)
        }
        granted: dict[str, list[AllocationRecord]] = {}
        groups = {owner for area, owner in places if area is StorageArea.GROUP}
        if groups:
            for record in await self._allocations.in_force(Resource.FILE_BYTES, groups):
                granted.setdefault(record.group, []).append(record)
        return [
            self._limits(
                area,
                exceptions.get((area, owner)),
                granted.get(owner, []) if area is StorageArea.GROUP else [],
            )
            for area, owner in places
        ]

    def defaults(self) -> dict[StorageArea, Allowed]:
        """What a place may hold of which nothing else is known."""
        settings = self._settings
        return {
            StorageArea.HOME: Allowed(bytes=settings.home_bytes, files=settings.home_files),
            StorageArea.GROUP: Allowed(bytes=settings.group_bytes, files=settings.group_files),
        }

    def _limits(
        self, area: StorageArea, own: StorageLimit | None, granted: list[AllocationRecord]
    ) -> Limits:
        default = self.defaults().get(area, Allowed())
        allowed_bytes = default.bytes if own is None or own.bytes is None else own.bytes
        if granted:
            allowed_bytes = sum(record.amount for record in granted)
        return Limits(
            bytes=allowed_bytes,
            files=default.files if own is None or own.files is None else own.files,
            bytes_bind=not granted or any(record.policy not in LENIENT for record in granted),
        )

    async def set(
        self,
        by: Principal,
        area: StorageArea,
        owner: str,
        *,
        limit_bytes: int | None = None,
        limit_files: int | None = None,
        reason: str,
    ) -> StorageLimit:
        """Except a person or group from the site's limits; ``None`` follows the site's again.

        Raises
        ------
        PermissionDenied, NotFound
        InvalidInput
            Without a reason, for an amount out of range, or for bytes of a group: those are
            allocations of the resource file-bytes.
        """
        by.require_administrator()
        reason = given_reason(reason, "Give the reason: it stands beside the limit for ever.")
        if any(not 0 <= (limit or 0) <= AMOUNT_MAX for limit in (limit_bytes, limit_files)):
            raise InvalidInput(f"A limit lies between 0 and {AMOUNT_MAX}.")
        match area:
            case StorageArea.HOME:
                await self._people.person(owner)  # there is such a person
            case StorageArea.GROUP if limit_bytes is None:
                await self._groups.title(owner)  # there is such a group
            case StorageArea.GROUP:
                raise InvalidInput(
                    "The space of a group is granted as an allocation: "
                    f"dachub allocation add {owner} BYTES --resource file-bytes ..."
                )
            case StorageArea.DATABASE:
                raise InvalidInput("Databases have no limits here.")
        limit = StorageLimit(
            area=area,
            owner=owner,
            bytes=limit_bytes,
            files=limit_files,
            reason=reason,
            author=by.name,
            at=self._clock.now(),
        )
        await self._store.add_limit(limit)
        await self._audit.record(
            by,
            "storage-limit-set",
            **_whose(area, owner),
            bytes=limit_bytes,
            files=limit_files,
            reason=reason,
        )
        return limit

    async def history(self, by: Principal, area: StorageArea, owner: str) -> Sequence[StorageLimit]:
        """All exceptions of a place, the latest last: why its limit is what it is.

        Raises
        ------
        PermissionDenied
        """
        require_reader(by, area, owner)
        return await self._store.limits([(area, owner)])


def require_reader(by: Principal, area: StorageArea, owner: str) -> None:
    """Raise :class:`PermissionDenied` unless ``by`` may see what is kept in a place.

    A home is its owner's to see, a group's folder its members', unknown directories the
    administrators'.
    """
    if area is StorageArea.GROUP:
        by.require(owner, Role.MEMBER)
    else:
        by.require_self(owner)


def _whose(area: StorageArea, owner: str) -> Mapping[str, str]:
    return {"group" if area is StorageArea.GROUP else "username": owner}
