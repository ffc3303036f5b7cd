"""Requests for more: asked by who lacks it, decided once by who may give it, both told.

More for a group is for administrators to give; a higher limit of one member, for the group's PIs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService, PeopleService
from dachub.directory.services.text import REASON_MAX_CHARACTERS, clean, given_reason
from dachub.infra.clock import Clock
from dachub.model.names import mention
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.requests import AllocationRequest, RequestState
from dachub.model.usage import AllocationRecord, Resource
from dachub.notices.services import NoticeService
from dachub.quota.models import InvalidAmount, NoAllocationInForce, RequestDecided, TooManyRequests
from dachub.quota.services.allocations import ID_MAX, AllocationService, base_units, spoken
from dachub.quota.services.limits import LimitService, require_pi
from dachub.quota.store.requests import RequestStore

LIST_MAX = 1000
OPEN_MAX = 20
"""Open requests a group may have: enough for people, too few to flood administrators."""
A_DAY_MAX = 50
"""Requests of a group in a day, those withdrawn at once too: each tells all administrators."""


class RequestService:
    """Takes requests and what is decided on them."""

    def __init__(
        self,
        store: RequestStore,
        allocations: AllocationService,
        limits: LimitService,
        groups: GroupService,
        people: PeopleService,
        notices: NoticeService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._allocations = allocations
        self._limits = limits
        self._groups = groups
        self._people = people
        self._notices = notices
        self._audit = audit
        self._clock = clock

    async def ask(
        self,
        by: Principal,
        *,
        group: str,
        resource: Resource,
        amount: Decimal | str | float,
        reason: str,
        own_limit: bool = False,
    ) -> AllocationRequest:
        """Ask for ``amount`` more (in core-hours and the like) for the group or as one's limit.

        Administrators and PIs are told; of a member's limit the PIs alone, if there are any.

        Raises
        ------
        PermissionDenied
            Unless ``by`` belongs to the group.
        NotFound
            If there is no such group.
        NoOwnLimit
            If a higher limit is asked for by somebody who has none.
        InvalidAmount, InvalidInput
        TooManyRequests
        """
        by.require(group, Role.MEMBER)
        wanted = base_units(amount, resource)
        if wanted <= 0:
            raise InvalidAmount("Ask for more than nothing.")
        reason = given_reason(reason, "Say why: who decides sees only what you write here.")
        title = await self._groups.title(group) or group
        if own_limit:
            await self._limits.of(group, by.name, resource)
        await self._store.lock_group(group)
        if await self._store.count_open(group) >= OPEN_MAX:
            raise TooManyRequests(
                f"{OPEN_MAX} requests of the group '{group}' wait for a decision already. "
                "Withdraw some, or wait until they are decided."
            )
        day_ago = self._clock.now() - timedelta(days=1)
        if await self._store.count_since(group, day_ago) >= A_DAY_MAX:
            raise TooManyRequests(
                f"The group '{group}' has asked {A_DAY_MAX} times in a day. Ask again tomorrow, or "
                "speak to the administrators."
            )
        made = await self._store.add(
            group=group,
            resource=resource,
            amount=wanted,
            own_limit=own_limit,
            reason=reason,
            username=by.name,
            at=self._clock.now(),
        )
        await self._record(by, "request-made", made, amount=str(amount), reason=reason)
        more = f"{spoken(wanted, resource)} more{' of their own limit' if own_limit else ''}"
        for told, path in await self._deciders(made):
            await self._notices.give(
                told - {by.name},
                key=f"request/{made.request_id}/made",
                kind=NoticeKind.REQUEST,
                severity=Severity.INFO,
                title=f"{title}: {mention(by.name)} asks for {more}",
                text=f"The reason given: {reason}",
                group=group,
                path=path,
            )
        return made

    async def grant(
        self,
        by: Principal,
        request_id: int,
        *,
        amount: Decimal | str | float | None = None,
        reason: str = "",
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> AllocationRequest:
        """Give what was asked for, or another amount; the requester and the PIs are told.

        The allocation in force grows by it (of several the one that ends last); where a period is
        named, a new allocation is made for that. A member's own limit grows for all periods.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers, or is PI and the member's own limit is asked for.
        NotFound, InvalidAmount, InvalidPeriod, InvalidInput
        RequestDecided
            If it was decided or withdrawn, also just now by somebody else.
        NoAllocationInForce
            If there is none to grow, and no period is named for a new one.
        NoOwnLimit
            If the member's limit was lifted meanwhile.
        """
        request = await self._to_decide(by, request_id)
        granted = request.amount if amount is None else base_units(amount, request.resource)
        if granted <= 0:
            raise InvalidAmount("Grant more than nothing, or decline the request.")
        reason = clean(reason, REASON_MAX_CHARACTERS)
        asked_by = mention(request.username)
        why = f"Request {request_id} of {asked_by}: {reason or request.reason}"
        allocation_id = await self._give(
            by, request, granted, why[:REASON_MAX_CHARACTERS], starts_at, ends_at
        )
        return await self._decide(by, request, RequestState.GRANTED, reason, granted, allocation_id)

    async def decline(self, by: Principal, request_id: int, reason: str) -> AllocationRequest:
        """Refuse a request; the requester and the PIs are told the reason.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput, RequestDecided
        """
        request = await self._to_decide(by, request_id)
        reason = given_reason(reason, "Give the reason: who asked is told.")
        return await self._decide(by, request, RequestState.DECLINED, reason)

    async def withdraw(self, by: Principal, request_id: int) -> AllocationRequest:
        """Take back one's own request.

        Raises
        ------
        PermissionDenied, NotFound, RequestDecided
        """
        request = await self.show(by, request_id)
        if request.username != by.name:
            raise PermissionDenied("Only who asked may withdraw the request.")
        request = await self._open(request_id)
        return await self._decide(by, request, RequestState.WITHDRAWN, "")

    async def show(self, by: Principal, request_id: int) -> AllocationRequest:
        """One request, for who made it, the group's managers and PIs, and administrators.

        Raises
        ------
        NotFound
            If there is none, or ``by`` may not know of it.
        """
        request = await self._store.find(request_id) if 0 < request_id <= ID_MAX else None
        if request is None or not (
            request.username == by.name or by.has(request.group, Role.MANAGER)
        ):
            raise _no_request(request_id)
        return request

    async def list(
        self,
        by: Principal,
        *,
        group: str | None = None,
        state: RequestState | None = None,
        own_limit: bool | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[AllocationRequest]:
        """Requests, newest first: one's own, those of groups one manages; for administrators all.

        Raises
        ------
        PermissionDenied
            If ``by`` asks for a group they do not belong to, or is no person.
        """
        if by.kind is PrincipalKind.HUB:
            raise PermissionDenied("The hub has no business with requests.")
        if group is not None:
            by.require(group, Role.MEMBER)
        managed = [slug for slug in by.roles if by.has(slug, Role.MANAGER)]
        return await self._store.list(
            username=by.name,
            groups=None if by.is_administrator else managed,
            group=group,
            state=state,
            own_limit=own_limit,
            before=before,
            limit=max(1, min(limit, LIST_MAX)),
        )

    async def _deciders(self, request: AllocationRequest) -> Sequence[tuple[set[str], str]]:
        """Who is told of a request, with the page on which they find it."""
        of_group = f"groups/{request.group}/requests"
        pis = {*await self._groups.pis(request.group)}
        if request.own_limit and pis - {request.username}:
            return [(pis, of_group)]
        administrators = {*await self._people.administrators()}
        decided_at = of_group if request.own_limit else "admin/requests"
        return [(administrators, decided_at), (pis - administrators, of_group)]

    async def _to_decide(self, by: Principal, request_id: int) -> AllocationRequest:
        """An open request that ``by`` may decide on, and nobody else until our transaction ends."""
        if not by.is_administrator:
            request = await self.show(by, request_id)
            if not request.own_limit:
                by.require_administrator()
            require_pi(by, request.group)
        return await self._open(request_id)

    async def _open(self, request_id: int) -> AllocationRequest:
        """An open request, which nobody else decides on until our transaction ends."""
        request = (
            await self._store.find(request_id, lock=True) if 0 < request_id <= ID_MAX else None
        )
        if request is None:
            raise _no_request(request_id)
        if request.state is not RequestState.OPEN:
            raise RequestDecided(
                f"The request {request_id} was {request.state.value} by {request.decided_by} "
                "already; nothing was changed."
            )
        return request

    async def _give(
        self,
        by: Principal,
        request: AllocationRequest,
        granted: int,
        reason: str,
        starts_at: datetime | None,
        ends_at: datetime | None,
    ) -> int | None:
        """Give it; returns the allocation that has it, if one has."""
        if request.own_limit:
            if starts_at is not None or ends_at is not None:
                raise InvalidInput("A limit holds for every period: give none.")
            await self._limits.raise_by(
                by, request.group, request.username, request.resource, granted, reason
            )
            return None
        given = await self._allocate(by, request, granted, reason, starts_at, ends_at)
        return given.allocation_id

    async def _allocate(
        self,
        by: Principal,
        request: AllocationRequest,
        granted: int,
        reason: str,
        starts_at: datetime | None,
        ends_at: datetime | None,
    ) -> AllocationRecord:
        amount = Decimal(granted) / request.resource.base_units
        if (starts_at is None) != (ends_at is None):
            raise InvalidInput("A period has both a beginning and an end: give both or neither.")
        if starts_at is not None and ends_at is not None:
            return await self._allocations.create(
                by,
                group=request.group,
                resource=request.resource,
                amount=amount,
                starts_at=starts_at,
                ends_at=ends_at,
                reason=reason,
                tell=False,
            )
        in_force = await self._allocations.in_force(request.resource, [request.group])
        if not in_force:
            raise NoAllocationInForce(
                f"The group '{request.group}' has no allocation of {request.resource.value} in "
                "force that could grow. Name the period of a new one."
            )
        latest = max(in_force, key=lambda found: (found.ends_at, found.allocation_id))
        return await self._allocations.adjust(by, latest.allocation_id, amount, reason, tell=False)

    async def _decide(
        self,
        by: Principal,
        request: AllocationRequest,
        state: RequestState,
        reason: str,
        granted: int | None = None,
        allocation_id: int | None = None,
    ) -> AllocationRequest:
        await self._store.decide(
            request.request_id,
            state,
            by=by.name,
            at=self._clock.now(),
            reason=reason,
            granted=granted,
            allocation_id=allocation_id,
        )
        await self._record(
            by, f"request-{state.value}", request, reason=reason, granted=granted,
            allocation_id=allocation_id,
        )  # fmt: skip
        decided = await self._store.find(request.request_id)
        assert decided is not None  # noqa: S101  it is locked
        if state is not RequestState.WITHDRAWN:
            await self._tell(decided)
        return decided

    async def _tell(self, request: AllocationRequest) -> None:
        asked = spoken(request.amount, request.resource)
        whose = f" for {mention(request.username)}" if request.own_limit else ""
        title = await self._groups.title(request.group) or request.group
        if request.granted is None:
            said, severity = f"the request for {asked} more{whose} was declined", Severity.WARNING
        else:
            said = f"{spoken(request.granted, request.resource)} more were granted{whose}"
            severity = Severity.INFO
        text = f"{mention(request.username)} had asked for {asked}: {request.reason}"
        if request.decided_by and request.decision_reason:
            text += f"\n\n{mention(request.decided_by)} says: {request.decision_reason}"
        await self._notices.give(
            {request.username, *await self._groups.pis(request.group)},
            key=f"request/{request.request_id}/decided",
            kind=NoticeKind.REQUEST,
            severity=severity,
            title=f"{title}: {said}",
            text=text,
            group=request.group,
            path=f"groups/{request.group}/requests",
        )

    async def _record(
        self, by: Principal, action: str, request: AllocationRequest, **details: object
    ) -> None:
        await self._audit.record(
            by,
            action,
            username=request.username,
            group=request.group,
            request=request.request_id,
            resource=request.resource.value,
            **({"person": request.username} if request.own_limit else {}),
            **{key: value for key, value in details.items() if value not in (None, "")},
        )


def _no_request(request_id: int) -> NotFound:
    return NotFound(f"There is no request {request_id} that you may see.")
