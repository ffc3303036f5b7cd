"""Limits of how many cores may run at once: configured, or set by administrators meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from dachub.directory.models import Principal
from dachub.directory.services import AuditService, GroupService
from dachub.directory.services.text import given_reason
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.queue import MILLI_CORES_MAX, CoreLimit
from dachub.model.units import MILLI_CORES_PER_CORE
from dachub.quota.models import CoreLimits, InvalidAmount
from dachub.quota.settings import QuotaSettings
from dachub.quota.store.queue import CoreLimitStore


class CoreLimitService:
    """Sets and shows them; each is appended, none is changed."""

    def __init__(
        self,
        store: CoreLimitStore,
        groups: GroupService,
        audit: AuditService,
        clock: Clock,
        settings: QuotaSettings,
    ) -> None:
        self._store = store
        self._groups = groups
        self._audit = audit
        self._clock = clock
        self._settings = settings

    async def in_force(self) -> CoreLimits:
        """What holds now: what was set last, else what is configured; asks nobody's rights."""
        found = await self._store.in_force()
        return CoreLimits(
            site=found.get(None, self._settings.concurrent_milli_cores),
            of_each_group=self._settings.group_concurrent_milli_cores,
            of_groups={group: limit for group, limit in found.items() if group is not None},
        )

    async def set(
        self, by: Principal, group: str | None, cores: Decimal | str | float | None, reason: str
    ) -> CoreLimit:
        """Let a group (``None``: the site) run so many cores at once; ``None``: as configured.

        It holds from the next decision on. What runs goes on, also where that is more.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput
        InvalidAmount
            Unless it is more than nothing, in thousandths of cores.
        """
        by.require_administrator()
        reason = given_reason(reason, "Give the reason: it stands beside the limit for ever.")
        if group is not None:
            await self._groups.title(group)  # there is such a group
        milli_cores = None if cores is None else _milli_cores(cores)
        limit = await self._store.add(
            group, milli_cores, reason=reason, author=by.name, at=self._clock.now()
        )
        await self._audit.record(
            by,
            "core-limit-lifted" if milli_cores is None else "core-limit-set",
            group=group,
            milli_cores=milli_cores,
            reason=reason,
        )
        return limit

    async def history(self, by: Principal, group: str | None) -> Sequence[CoreLimit]:
        """All that was ever set for a group or for the site, the latest first.

        Raises
        ------
        PermissionDenied
            Unless ``by`` belongs to the group; the site's are for administrators.
        """
        if group is None:
            by.require_administrator()
        else:
            by.require(group, Role.MEMBER)
        return await self._store.history(group)


def _milli_cores(cores: Decimal | str | float) -> int:
    try:
        amount = Decimal(str(cores)) * MILLI_CORES_PER_CORE
        if 0 < amount <= MILLI_CORES_MAX and amount == int(amount):
            return int(amount)
    except ArithmeticError:  # no number, or none that can be compared
        pass
    raise InvalidAmount(
        "A number of cores is more than 0, at most "
        f"{MILLI_CORES_MAX // MILLI_CORES_PER_CORE:,}, and has three decimals at most."
    )
