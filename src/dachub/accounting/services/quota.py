"""What a group has left, and whether a server may start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dachub.accounting.models import Grant, Offer, RescueReason, StartCheck
from dachub.accounting.services.balance import Pool, pool, stretches
from dachub.accounting.settings import QuotaSettings
from dachub.accounting.store.allocations import AllocationStore
from dachub.accounting.store.sessions import SessionStore
from dachub.accounting.store.usage import UsageStore
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService, PeopleService
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.problems import DachubError, NotFound
from dachub.model.site import (
    ChoiceRefused,
    ResolvedChoice,
    ServerChoice,
    resolve_choice,
)
from dachub.model.units import core_hours
from dachub.model.usage import (
    AuthorizeRequest,
    Decision,
    GroupBalance,
    Policy,
    Resource,
    StartOptions,
)
from dachub.notices.services import NoticeService

ALLOCATION_SPENT = "allocation-spent"
NO_ALLOCATION = "no-allocation"


class QuotaService:
    """Decides by membership, the site's offer and the group's remaining time."""

    def __init__(
        self,
        allocations: AllocationStore,
        usage: UsageStore,
        sessions: SessionStore,
        people: PeopleService,
        groups: GroupService,
        audit: AuditService,
        notices: NoticeService,
        clock: Clock,
        settings: QuotaSettings,
        offer: Offer,
        start_checks: Sequence[StartCheck] = (),
    ) -> None:
        self._allocations = allocations
        self._usage = usage
        self._sessions = sessions
        self._people = people
        self._groups = groups
        self._audit = audit
        self._notices = notices
        self._clock = clock
        self._settings = settings
        self._offer = offer
        self._start_checks = start_checks

    async def balance(self, group: str) -> GroupBalance:
        """What a group used and has left now; asks nobody's rights.

        Allocations that overlap are taken together (:mod:`dachub.accounting.services.balance`); of
        their policies the strictest holds. Without one in force ``used`` counts from the beginning
        of the calendar year.
        """
        now = self._clock.now()
        grants = (await self._allocations.grants([group])).get((group, Resource.CORE_HOURS), [])
        used = [
            (since, (await self._usage.total(group, since, until, now)).milli_core_seconds)
            for since, until in stretches(grants, now)
        ]
        in_force = pool(grants, used, now)
        try:
            title = await self._groups.title(group)
        except NotFound:  # charged, but unknown to the directory
            title = ""
        contacts = await self._contacts(group)
        if in_force is None:
            return await self._without_allocation(group, title, contacts, now)
        balance = GroupBalance(
            group=group,
            title=title,
            since=in_force.since,
            used=in_force.allocated - in_force.left,
            allocated=in_force.allocated,
            left=in_force.left,
            resets_at=in_force.next_at,
            policy=_strictest(in_force.grants),
            contacts=contacts,
        )
        return balance.model_copy(update={"message": self._message(balance, in_force)})

    async def start_options(self, username: str) -> StartOptions:
        """What the start page offers: groups with what is left, the last choice, notices."""
        groups = [membership.group for membership in await self._groups.memberships_of(username)]
        notices = [
            f"Your server '{session.server_name or 'default'}' will be stopped at "
            f"{_spoken(session.stop_due_at)}: {session.stop_due_reason or 'by the administrators'}."
            for session in await self._sessions.records(
                now=self._clock.now(), username=username, state="running"
            )
            if session.stop_due_at is not None
        ]
        pressing = await self._notices.pressing(username)
        notices += [f"{notice.title}. {notice.text}" for notice in pressing]
        return StartOptions(
            groups=[await self.balance(group) for group in groups],
            last_choice=await self._last_choice(username, groups),
            notices=notices,
        )

    async def authorize(self, request: AuthorizeRequest) -> Decision:
        """Whether a person may start a server; refusals are audited.

        The answer never raises for what the person did: it says why not, and whom to ask.
        """
        try:
            person = await self._people.principal(request.username)
            choice = resolve_choice(
                request.choice, sorted(person.roles), self._offer.sizes, self._offer.environments
            )
        except DachubError as refusal:
            message = refusal.message
            if isinstance(refusal, NotFound):
                message = (
                    f"The directory does not know '{request.username}' yet. Log out and in again; "
                    f"if that does not help, ask {self._offer.contact}."
                )
            return await self._refuse(request, refusal.code, message)
        rescue = await self._rescue(request.username, choice.group)
        if rescue is not None:
            choice = choice.model_copy(update={"size": self._offer.rescue})
        balance = await self.balance(choice.group)
        spent = balance.left is not None and balance.left <= 0
        if balance.policy in (Policy.DENY, Policy.STOP) and (spent or balance.allocated is None):
            code = ALLOCATION_SPENT if spent else NO_ALLOCATION
            return await self._refuse(request, code, balance.message, choice, balance)
        return Decision(
            allowed=True,
            code=rescue.code if rescue else "ok",
            rescue=rescue.message if rescue else None,
            message=balance.message,
            group=choice.group,
            size=choice.size.name,
            environment=choice.environment.name,
            balance=balance,
        )

    async def _rescue(self, username: str, group: str) -> RescueReason | None:
        """The first reason that a check finds."""
        for check in self._start_checks:
            if (reason := await check(username, group)) is not None:
                return reason
        return None

    async def _refuse(
        self,
        request: AuthorizeRequest,
        code: str,
        message: str,
        choice: ResolvedChoice | None = None,
        balance: GroupBalance | None = None,
    ) -> Decision:
        group = choice.group if choice else request.choice.group
        await self._audit.record(
            Principal(request.username, PrincipalKind.PERSON),
            "start-refused",
            username=request.username,
            group=group,
            code=code,
            message=message,
        )
        return Decision(
            allowed=False,
            code=code,
            message=message,
            group=choice.group if choice else None,
            size=choice.size.name if choice else None,
            environment=choice.environment.name if choice else None,
            balance=balance,
        )

    async def _without_allocation(
        self, group: str, title: str, contacts: list[str], now: datetime
    ) -> GroupBalance:
        since = now.replace(month=1, day=1, hour=0, minute=0, second=0)
        until = max(now, since + timedelta(seconds=1))
        used = await self._usage.total(group, since, until, now)
        policy = self._settings.without_allocation
        message = ""
        if policy is not Policy.ALLOW:
            consequence = (
                "so nothing can be started on it"
                if policy is Policy.DENY
                else "so what it uses is covered by none"
            )
            message = (
                f"The group '{group}' has no allocation of core-hours at present, {consequence}. "
                f"Ask {self._whom(contacts)}."
            )
        return GroupBalance(
            group=group,
            title=title,
            since=since,
            used=used.milli_core_seconds,
            policy=policy,
            contacts=contacts,
            message=message,
        )

    def _message(self, balance: GroupBalance, in_force: Pool) -> str:
        """For the person; empty while all is well, or where the policy is to let be."""
        left = in_force.left
        allocated = core_hours(in_force.allocated)
        used = f"{core_hours(balance.used):,.1f} of its {allocated:,.1f} core-hours"
        if in_force.next_is_planned:
            then = f"Its next allocation begins on {_spoken(in_force.next_at)}."
        else:
            then = (
                f"Its allocation ends on {_spoken(in_force.next_at)}, and no other is planned yet."
            )
        whom = f"For more, ask {self._whom(balance.contacts)}."
        if balance.policy is Policy.ALLOW:
            return ""
        if left <= 0:
            consequence = (
                "nothing is left, so no new server can be started on it"
                if balance.policy is Policy.DENY
                else "nothing is left; servers still start, but the group is overdrawn"
            )
            return f"The group '{balance.group}' has used {used}: {consequence}. {then} {whom}"
        if balance.used * 100 >= in_force.allocated * min(self._settings.policy.warn_at_percent):
            return (
                f"The group '{balance.group}' has used {used}: {core_hours(left):,.1f} are left. "
                f"{then} {whom}"
            )
        return ""

    async def _contacts(self, group: str) -> list[str]:
        names = {
            member.username: member.full_name or member.username
            for member in await self._groups.members(group)
            if member.role is Role.PI
        }
        return [names[username] for username in sorted(names)]

    def _whom(self, contacts: list[str]) -> str:
        if contacts:
            return f"{' or '.join(contacts)} (PI)"
        return self._offer.contact

    async def _last_choice(self, username: str, groups: list[str]) -> ServerChoice:
        """The last choice as far as it is still open to the person."""
        last = await self._sessions.records(now=self._clock.now(), username=username, limit=1)
        if not last or last[0].group not in groups:
            return ServerChoice()
        chosen = ServerChoice(group=last[0].group)
        for name in ("size", "environment"):
            wanted = chosen.model_copy(update={name: getattr(last[0], name)})
            try:
                resolve_choice(wanted, groups, self._offer.sizes, self._offer.environments)
            except ChoiceRefused:
                continue
            chosen = wanted
        return chosen


def _strictest(grants: tuple[Grant, ...]) -> Policy:
    order = list(Policy)
    return max((grant.policy.when_spent for grant in grants), key=order.index)


def _spoken(moment: datetime | None) -> str:
    if moment is None:
        return "an unknown time"
    if (moment.hour, moment.minute, moment.second) == (0, 0, 0):
        return f"{moment:%-d %B %Y}"
    return f"{moment:%-d %B %Y, %H:%M} UTC"
