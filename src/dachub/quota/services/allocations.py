"""Allocations: granted and changed by administrators, by appending, with a reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from dachub.accounting.models import Span
from dachub.accounting.services import UsageService
from dachub.accounting.services.usage import period
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService
from dachub.directory.services.text import given_reason
from dachub.infra.clock import Clock
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.units import spoken_bytes
from dachub.model.usage import AllocationRecord, Policy, QuotaPolicy, Resource
from dachub.notices.services import NoticeService
from dachub.quota.models import AllocationBelowZero, Change, InvalidAmount
from dachub.quota.store.allocations import AllocationStore

AMOUNT_MAX = 10**30
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


def policy_of(policy: Policy | QuotaPolicy | None) -> QuotaPolicy:
    """A policy as people may give it: in full, by what happens in the end, or the site's."""
    if policy is None:
        return QuotaPolicy()
    return QuotaPolicy(when_spent=policy) if isinstance(policy, Policy) else policy


class AllocationService:
    """Grants, changes and shows allocations."""

    def __init__(
        self,
        store: AllocationStore,
        usage: UsageService,
        groups: GroupService,
        audit: AuditService,
        notices: NoticeService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._usage = usage
        self._groups = groups
        self._audit = audit
        self._notices = notices
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
        policy: Policy | QuotaPolicy | None = None,
        reason: str,
        tell: bool = True,
    ) -> AllocationRecord:
        """Grant ``amount`` (in core-hours and the like) for [starts_at, ends_at).

        Parameters
        ----------
        policy
            What it leaves out is the site's; so is all of it where there is none.
        tell
            Whether the PIs get a notice; not where another tells them already.

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
        reason = checked_reason(reason)
        if "\0" in group:
            raise InvalidInput("A name cannot contain the character NUL.")
        await self._groups.title(group)  # there is such a group
        rules = policy_of(policy)
        allocation_id = await self._store.add(group, resource, starts_at)
        if allocation_id is None:  # pragma: no cover - only those of a series can be there before
            raise NotFound("The allocation was not made.")
        await self._store.append(
            allocation_id,
            Change(reason, by.name, self._clock.now(), granted, ends_at, rules),
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
            policy=rules.said(),
            reason=reason,
        )
        record = await self._record(allocation_id)
        if tell:
            await self._tell(record, "was made")
        return record

    async def adjust(
        self,
        by: Principal,
        allocation_id: int,
        amount: Decimal | str | float,
        reason: str,
        *,
        tell: bool = True,
    ) -> AllocationRecord:
        """Add ``amount`` (in core-hours and the like; negative takes away) to an allocation.

        Raises
        ------
        PermissionDenied, NotFound, InvalidAmount, InvalidInput, AllocationBelowZero
        """
        return await self.change(by, allocation_id, reason, amount=amount, tell=tell)

    async def change(
        self,
        by: Principal,
        allocation_id: int,
        reason: str,
        *,
        amount: Decimal | str | float | None = None,
        ends_at: datetime | None = None,
        policy: Policy | QuotaPolicy | None = None,
        tell: bool = True,
    ) -> AllocationRecord:
        """Append one adjustment: of the amount, of the end, of the policy.

        Parameters
        ----------
        amount
            To add, in core-hours and the like; negative takes away.
        policy
            What it leaves out is the site's.
        tell
            Whether the PIs get a notice; not where another tells them already.

        Raises
        ------
        PermissionDenied, NotFound, InvalidAmount, InvalidInput
        InvalidPeriod
            If it would end before it begins.
        AllocationBelowZero
            If less than nothing would be left of the amount.
        """
        by.require_administrator()
        if not 0 < allocation_id <= ID_MAX or not await self._store.lock(allocation_id):
            raise NotFound(f"There is no allocation {allocation_id}.")
        before = await self._record(allocation_id)
        if amount is None and ends_at is None and policy is None:
            raise InvalidInput("Say what is to change: the amount, the end or the policy.")
        change = Change(
            checked_reason(reason),
            by.name,
            self._clock.now(),
            0 if amount is None else _checked_change(before, amount),
            None if ends_at is None else period(before.starts_at, ends_at)[1],
            None if policy is None else policy_of(policy),
        )
        await self._store.append(allocation_id, change)
        await self._audit.record(
            by,
            "allocation-adjusted",
            group=before.group,
            allocation_id=allocation_id,
            resource=before.resource.value,
            reason=change.reason,
            **_said(change, amount),
        )
        record = await self._record(allocation_id)
        if tell:
            await self._tell(record, "was changed")
        return record

    async def list(self, by: Principal, *, group: str | None = None) -> Sequence[AllocationRecord]:
        """Allocations of a group for its members, of all their groups, or all for administrators.

        Raises
        ------
        PermissionDenied
        """
        return await self._with_usage(await self._store.of_groups(visible_groups(by, group)))

    async def show(self, by: Principal, allocation_id: int) -> AllocationRecord:
        """One allocation with all that it came by, for the group's members and administrators.

        Raises
        ------
        NotFound
            If there is none, or ``by`` may not know of it.
        """
        found = await self._store.find(allocation_id) if 0 < allocation_id <= ID_MAX else None
        if found is None or not by.has(found.group, Role.MEMBER):
            raise NotFound(f"There is no allocation {allocation_id} that you may see.")
        return (await self._with_usage([found]))[0]

    async def _tell(self, record: AllocationRecord, what: str) -> None:
        """Tell the PIs of the last change."""
        change = record.adjustments[-1]
        await self._notices.give(
            await self._groups.pis(record.group),
            key=f"allocation:{record.allocation_id}:{len(record.adjustments)}",
            kind=NoticeKind.QUOTA,
            severity=Severity.INFO,
            title=f"An allocation of {record.group} {what}",
            text=f"It is now {spoken(record.amount, record.resource)} until "
            f"{record.ends_at:%-d %B %Y, %H:%M} UTC. Reason: {change.reason}",
            group=record.group,
            path=f"groups/{record.group}/allocations",
        )

    async def in_force(
        self, resource: Resource, groups: Collection[str] | None = None
    ) -> Sequence[AllocationRecord]:
        """Allocations of ``resource`` in force now, of all or some groups; asks nobody's rights.

        What was used of them is not told.
        """
        now = self._clock.now()
        return [
            record
            for record in await self._store.of_groups(groups)
            if record.resource is resource and record.starts_at <= now < record.ends_at
        ]

    async def _record(self, allocation_id: int) -> AllocationRecord:
        record = await self._store.find(allocation_id)
        if record is None:
            raise NotFound(f"There is no allocation {allocation_id}.")
        return (await self._with_usage([record]))[0]

    async def _with_usage(self, records: Sequence[AllocationRecord]) -> Sequence[AllocationRecord]:
        spans = [Span(record.group, record.starts_at, record.ends_at) for record in records]
        used = await self._usage.of_spans(spans, self._clock.now())
        return [
            record.model_copy(update={"used": record.resource.used(usage)})
            for record, usage in zip(records, used, strict=True)
        ]


def _checked_change(before: AllocationRecord, amount: Decimal | str | float) -> int:
    change = base_units(amount, before.resource)
    if change == 0:
        raise InvalidAmount("An adjustment of nothing changes nothing.")
    if before.amount + change < 0:
        raise AllocationBelowZero(
            f"The allocation is {spoken(before.amount, before.resource)}; "
            f"{str(amount)[:40]} would leave less than nothing."
        )
    if before.amount + change > AMOUNT_MAX:
        raise InvalidAmount("That is more than can be counted.")
    return change


def _said(change: Change, amount: Decimal | str | float | None) -> dict[str, Any]:
    """What a change is about, for the audit."""
    said = {
        "amount": None if amount is None else str(amount),
        "ends_at": None if change.ends_at is None else change.ends_at.isoformat(),
        "policy": None if change.policy is None else change.policy.said(),
    }
    return {name: value for name, value in said.items() if value is not None}


def visible_groups(by: Principal, group: str | None) -> Sequence[str] | None:
    """The group asked for, or all that ``by`` belongs to; ``None`` is all there are.

    Raises
    ------
    PermissionDenied
    """
    if by.kind is PrincipalKind.HUB:
        raise PermissionDenied("The hub has no business with allocations.")
    if group is None:
        return None if by.is_administrator else [*by.roles]
    by.require(group, Role.MEMBER)
    if "\0" in group:
        raise InvalidInput("A name cannot contain the character NUL.")
    return [group]


def spoken(amount: int, resource: Resource) -> str:
    """An amount in base units as people speak of it."""
    if not resource.is_time:
        return spoken_bytes(amount)
    return f"{amount / resource.base_units:,.2f} {resource.unit}"


def checked_reason(reason: str) -> str:
    """The reason, as :func:`given_reason` has it."""
    return given_reason(reason, "Give the reason: it stands beside the amount for ever.")
