"""Allocations: granted and changed by administrators, by appending, with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from dachub.accounting.models import AllocationBelowZero, InvalidAmount
from dachub.accounting.services.usage import period
from dachub.accounting.store.allocations import AllocationStore
from dachub.accounting.store.usage import UsageStore
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.usage import AllocationRecord, Policy, Resource, Usage

AMOUNT_MAX = 2**60
REASON_MAX_CHARACTERS = 1000
ID_MAX = 2**31 - 1


def base_units(amount: Decimal | str | float, resource: Resource) -> int:
    """An amount in the unit that people speak of (core-hours, GPU-hours, bytes), in base units.

    Raises
    ------
    InvalidAmount
        If it is no number, out of range, or finer than the base unit (a milli-core-second).
    """
    spoken = f"{str(amount)[:40]} {resource.value}"
    try:
        exact = Decimal(str(amount)) * resource.base_units
        too_much = abs(exact) > AMOUNT_MAX
    except (ArithmeticError, ValueError) as error:
        raise InvalidAmount(f"'{spoken}' is not an amount that can be counted.") from error
    if too_much:  # infinity too
        limit = AMOUNT_MAX // resource.base_units
        raise InvalidAmount(f"{spoken} is more than can be counted ({limit}).")
    whole = int(exact)
    if whole != exact:
        raise InvalidAmount(f"{spoken} is finer than what is counted; give fewer decimal places.")
    return whole


class AllocationService:
    """Grants, changes and shows allocations."""

    def __init__(
        self,
        store: AllocationStore,
        usage: UsageStore,
        groups: GroupService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._usage = usage
        self._groups = groups
        self._audit = audit
        self._clock = clock

    async def create(
        self,
        by: Principal,
        *,
        group: str,
        resource: Resource,
        amount: Decimal | str | float,
        starts_at: datetime,
        ends_at: datetime,
        policy: Policy,
        reason: str,
    ) -> AllocationRecord:
        """Grant ``amount`` (in core-hours and the like) for [starts_at, ends_at).

        Raises
        ------
        PermissionDenied
        NotFound
            If there is no such group.
        InvalidAmount, InvalidPeriod, InvalidInput
        """
        by.require_administrator()
        granted = base_units(amount, resource)
        if granted < 0:
            raise InvalidAmount("An allocation cannot be less than nothing.")
        starts_at, ends_at = period(starts_at, ends_at)
        reason = _checked_reason(reason)
        if "\0" in group:
            raise InvalidInput("A name cannot contain the character NUL.")
        await self._groups.title(group)  # there is such a group
        allocation_id = await self._store.add(group, resource, starts_at, ends_at, policy)
        await self._store.adjust(
            allocation_id, granted, reason=reason, author=by.name, at=self._clock.now()
        )
        await self._audit.record(
            by,
            "allocation-created",
            group=group,
            allocation_id=allocation_id,
            resource=resource.value,
            amount=str(amount),
            starts_at=starts_at.isoformat(),
            ends_at=ends_at.isoformat(),
            policy=policy.value,
            reason=reason,
        )
        return await self._record(allocation_id)

    async def adjust(
        self, by: Principal, allocation_id: int, amount: Decimal | str | float, reason: str
    ) -> AllocationRecord:
        """Add ``amount`` (in core-hours and the like; negative takes away) to an allocation.

        Raises
        ------
        PermissionDenied, NotFound, InvalidAmount, InvalidInput
        AllocationBelowZero
            If less than nothing would be left of the amount.
        """
        by.require_administrator()
        reason = _checked_reason(reason)
        if not 0 < allocation_id <= ID_MAX or not await self._store.lock(allocation_id):
            raise NotFound(f"There is no allocation {allocation_id}.")
        before = await self._record(allocation_id)
        change = base_units(amount, before.resource)
        if change == 0:
            raise InvalidAmount("An adjustment of nothing changes nothing.")
        after = before.amount + change
        if after < 0:
            raise AllocationBelowZero(
                f"The allocation is {_spoken(before.amount, before.resource)}; "
                f"{str(amount)[:40]} would leave less than nothing."
            )
        if after > AMOUNT_MAX:
            raise InvalidAmount("That is more than can be counted.")
        await self._store.adjust(
            allocation_id, change, reason=reason, author=by.name, at=self._clock.now()
        )
        await self._audit.record(
            by,
            "allocation-adjusted",
            group=before.group,
            allocation_id=allocation_id,
            resource=before.resource.value,
            amount=str(amount),
            reason=reason,
        )
        return await self._record(allocation_id)

    async def list(self, by: Principal, *, group: str | None = None) -> Sequence[AllocationRecord]:
        """Allocations of a group for its members, of all their groups, or all for administrators.

        Raises
        ------
        PermissionDenied
        """
        if by.kind is PrincipalKind.HUB:
            raise PermissionDenied("The hub has no business with allocations.")
        if group is not None:
            by.require(group, Role.MEMBER)
            groups: Sequence[str] | None = [group]
        else:
            groups = None if by.is_administrator else [*by.roles]
        if any("\0" in slug for slug in groups or ()):
            raise InvalidInput("A name cannot contain the character NUL.")
        return [await self._with_usage(record) for record in await self._store.of_groups(groups)]

    async def in_force(self, resource: Resource) -> Sequence[AllocationRecord]:
        """Allocations of ``resource`` in force now, of all groups; asks nobody's rights.

        What was used of them is not told.
        """
        now = self._clock.now()
        return [
            record
            for record in await self._store.of_groups(None)
            if record.resource is resource and record.starts_at <= now < record.ends_at
        ]

    async def _record(self, allocation_id: int) -> AllocationRecord:
        record = await self._store.find(allocation_id)
        if record is None:
            raise NotFound(f"There is no allocation {allocation_id}.")
        return await self._with_usage(record)

    async def _with_usage(self, record: AllocationRecord) -> AllocationRecord:
        now = self._clock.now()
        used = await self._usage.total(record.group, record.starts_at, record.ends_at, now)
        return record.model_copy(update={"used": _of(used, record.resource)})


def _of(used: Usage, resource: Resource) -> int:
    """What counts against an allocation of ``resource``; storage is not measured here."""
    return {
        Resource.CORE_HOURS: used.milli_core_seconds,
        Resource.GPU_HOURS: used.gpu_seconds,
    }.get(resource, 0)


def _spoken(amount: int, resource: Resource) -> str:
    return f"{amount / resource.base_units:g} {resource.value}"


def _checked_reason(reason: str) -> str:
    reason = " ".join(reason.replace("\0", " ").split())
    if not reason:
        raise InvalidInput("Give the reason: it stands beside the amount for ever.")
    if len(reason) > REASON_MAX_CHARACTERS:
        raise InvalidInput(f"The reason is longer than {REASON_MAX_CHARACTERS} characters.")
    return reason
