"""Limits of members: what one person may use of a group's allocations."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService
from dachub.infra.clock import Clock
from dachub.model.allocations import MemberLimit
from dachub.model.names import mention
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.usage import Resource
from dachub.notices.services import NoticeService
from dachub.quota.models import InvalidAmount, NoOwnLimit
from dachub.quota.services.allocations import base_units, checked_reason, spoken
from dachub.quota.store.limits import LimitStore


class LimitService:
    """Sets and shows limits; each is appended, none is changed."""

    def __init__(
        self,
        store: LimitStore,
        groups: GroupService,
        audit: AuditService,
        notices: NoticeService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._groups = groups
        self._audit = audit
        self._notices = notices
        self._clock = clock

    async def set(
        self,
        by: Principal,
        group: str,
        username: str,
        resource: Resource,
        amount: Decimal | str | float | None,
        reason: str,
        *,
        tell: bool = True,
    ) -> MemberLimit:
        """Let a member use at most ``amount`` (in core-hours and the like) of each period.

        ``None`` lifts the limit. The member is told, unless ``tell`` is false.

        Raises
        ------
        PermissionDenied
            Unless ``by`` is PI of the group, in person, or administers.
        NotFound
            If the person is no member of the group.
        InvalidAmount, InvalidInput
        """
        require_pi(by, group)
        if not resource.is_time:
            raise InvalidInput(f"Members have no limits of {resource.unit}.")
        limit = None if amount is None else base_units(amount, resource)
        if limit is not None and limit < 0:
            raise InvalidAmount("A limit cannot be less than nothing.")
        reason = checked_reason(reason)
        members = await self._groups.members(group)
        if username not in {member.username for member in members}:
            raise NotFound(f"'{username[:40]}' is not a member of the group '{group}'.")
        await self._store.lock(group, username)
        made = await self._store.add(
            group, username, resource, limit, reason=reason, author=by.name, at=self._clock.now()
        )
        await self._audit.record(
            by,
            "limit-lifted" if limit is None else "limit-set",
            username=username,
            group=group,
            resource=resource.value,
            amount=None if amount is None else str(amount),
            reason=reason,
        )
        if tell:
            await self._tell(made)
        return made

    async def raise_by(
        self, by: Principal, group: str, username: str, resource: Resource, more: int, reason: str
    ) -> MemberLimit:
        """Let a member use ``more`` (in base units) than now; who asked for it is told elsewhere.

        Raises
        ------
        PermissionDenied, NotFound, InvalidAmount, InvalidInput
        NoOwnLimit
            If the member has no limit (any more).
        """
        await self._store.lock(group, username)
        limit = await self.of(group, username, resource)
        amount = Decimal((limit.amount or 0) + more) / resource.base_units
        return await self.set(by, group, username, resource, amount, reason, tell=False)

    async def of(self, group: str, username: str, resource: Resource) -> MemberLimit:
        """The limit in force of a member; asks nobody's rights.

        Raises
        ------
        NoOwnLimit
        """
        for limit in await self._store.in_force([group]):
            if (limit.username, limit.resource) == (username, resource):
                return limit
        raise NoOwnLimit(
            f"{mention(username)} has no limit of {resource.unit} in the group '{group}' that "
            "could be raised: what the group has may be used. For more of that ask for the group."
        )

    async def list(self, by: Principal, group: str) -> Sequence[MemberLimit]:
        """Limits in force in a group: all for its managers, for members their own.

        Raises
        ------
        PermissionDenied
        """
        return _own(by, group, await self._store.in_force([group]))

    async def history(self, by: Principal, group: str) -> Sequence[MemberLimit]:
        """All limits there ever were, the latest first; for members their own.

        Raises
        ------
        PermissionDenied
        """
        return _own(by, group, await self._store.history(group))

    async def _tell(self, limit: MemberLimit) -> None:
        if limit.amount is None:
            title = f"You have no limit of your own in {limit.group} any more"
            text = f"You may use all that the group has of {limit.resource.unit}."
        else:
            title = f"Your limit in {limit.group}: {spoken(limit.amount, limit.resource)}"
            text = (
                f"{mention(limit.author)} set what you may use of the group's "
                f"{limit.resource.unit} in each period of its allocation. Others of the group are "
                "not affected."
            )
        await self._notices.give(
            [limit.username],
            key=f"limit:{limit.limit_id}",
            kind=NoticeKind.GROUP,
            severity=Severity.INFO,
            title=title,
            text=f"{text} Reason: {limit.reason}",
            group=limit.group,
            path=f"groups/{limit.group}",
        )


def require_pi(by: Principal, group: str) -> None:
    """Raise unless ``by`` may decide on limits: a PI of the group in person, or who administers.

    Raises
    ------
    PermissionDenied
    """
    by.require(group, Role.PI)
    if by.kind is PrincipalKind.SERVER:
        raise PermissionDenied("A server's own token cannot set limits; use one of your own.")


def _own(by: Principal, group: str, limits: Sequence[MemberLimit]) -> Sequence[MemberLimit]:
    by.require(group, Role.MEMBER)
    if by.has(group, Role.MANAGER):
        return limits
    return [limit for limit in limits if limit.username == by.name]
