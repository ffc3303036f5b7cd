"""What a group has left, and whether a server may start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from dachub.accounting.services import SessionService
from dachub.directory.models import Contacts, Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService, PeopleService
from dachub.infra.clock import Clock
from dachub.model.allocations import MemberBalance
from dachub.model.notices import Notice, NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.problems import ChoiceRefused, DachubError, NotFound
from dachub.model.queue import Place
from dachub.model.sessions import EndReason
from dachub.model.site import (
    ResolvedChoice,
    ServerChoice,
    Size,
    resolve_choice,
)
from dachub.model.usage import (
    AuthorizeRequest,
    Decision,
    GroupBalance,
    QuotaState,
    StartOptions,
)
from dachub.notices.services import NoticeService
from dachub.quota.models import HOME_FULL, Offer, RescueReason, StartCheck
from dachub.quota.services import wording
from dachub.quota.services.forecast import exhausted_at, forecast
from dachub.quota.services.positions import Position, PositionReader, advanced
from dachub.quota.services.queue import QueueService

ALLOCATION_SPENT = "allocation-spent"
NO_ALLOCATION = "no-allocation"
MEMBER_LIMIT_SPENT = "member-limit-spent"
RESCUED = "To make room you may work all the same; it is charged."
FORECAST_TOLD_SECONDS = 24 * 3600
WHY_STOPPED: Mapping[str, str] = {
    "": "an administrator wants it so",
    EndReason.QUOTA: "the computing time that you may use on its group is used up",
    EndReason.MAINTENANCE: "the machine that it runs on is taken out of service",
    EndReason.LEFT_GROUP: "you no longer belong to its group",
}
"""What lasts longer is not worth a word at the start."""
ALL = None
NOBODY = ""


class QuotaService:
    """Decides by membership, the site's offer and what is left."""

    def __init__(
        self,
        positions: PositionReader,
        queue: QueueService,
        sessions: SessionService,
        people: PeopleService,
        groups: GroupService,
        audit: AuditService,
        notices: NoticeService,
        clock: Clock,
        offer: Offer,
        start_checks: Sequence[StartCheck] = (),
    ) -> None:
        self._positions = positions
        self._queue = queue
        self._sessions = sessions
        self._people = people
        self._groups = groups
        self._audit = audit
        self._notices = notices
        self._clock = clock
        self._offer = offer
        self._start_checks = start_checks

    async def balance(self, group: str) -> GroupBalance:
        """What a group used and has left of its core-hours now; asks nobody's rights.

        Allocations that overlap are taken together (:mod:`dachub.quota.services.balance`); of
        their policies the strictest holds. Without one in force ``used`` counts from the beginning
        of the calendar year.
        """
        return (await self.balances(group))[0]

    async def balances(self, group: str) -> Sequence[GroupBalance]:
        """The same for core-hours, and then for whatever else the group is allocated."""
        return (await self._balances([group], NOBODY))[group]

    async def core_hours(self, groups: Sequence[str]) -> Mapping[str, GroupBalance]:
        """:meth:`balance` of many groups with few questions; asks nobody's rights."""
        found = await self._balances(groups, NOBODY)
        return {group: balances[0] for group, balances in found.items()}

    async def members(self, by: Principal, group: str) -> Sequence[MemberBalance]:
        """What members used of their own limits: all for managers, for members their own.

        Raises
        ------
        PermissionDenied
            If ``by`` does not belong to the group.
        """
        by.require(group, Role.MEMBER)
        whose = ALL if by.has(group, Role.MANAGER) else by.name
        return [
            MemberBalance(
                group=group,
                username=member.username,
                resource=position.resource,
                limit=member.limit,
                used=member.measured.used,
                since=position.since,
                state=member.standing.state,
            )
            for position in await self._read([group], whose)
            for member in position.members.values()
        ]

    async def start_options(self, username: str) -> StartOptions:
        """What the start page offers: groups with what is left, the last choice, notices."""
        groups = [membership.group for membership in await self._groups.memberships_of(username)]
        notices = [
            f"Your server '{session.server_name or 'default'}' will be stopped at "
            f"{wording.day_and_time(session.stop_due_at)}: "
            f"{WHY_STOPPED.get(session.stop_due_reason or '', session.stop_due_reason)}. "
            "Save your work; your files stay as they are."
            for session in await self._sessions.running(username)
            if session.stop_due_at is not None
        ]
        balances = await self._balances(groups, username)
        notices += [
            f"{notice.title}. {notice.text}"
            for notice in await self._notices.pressing(username)
            if _still_holds(notice, balances)
        ]
        return StartOptions(
            groups=[balances[group][0] for group in groups],
            resources=[balance for group in groups for balance in balances[group][1:]],
            last_choice=await self._last_choice(username, groups),
            notices=notices,
        )

    async def authorize(self, request: AuthorizeRequest) -> Decision:
        """Whether a person may start a server; refusals are audited.

        Every resource that the size consumes must be open to the group and to the person. Who must
        make room may do so whatever is left, in one rescue session at a time: it is charged like
        any server, and ends by itself. What may start waits where there are no cores for it now.
        The answer never raises for what the person did: it says why not, and whom to ask.
        """
        try:
            person = await self._people.principal(request.username)
            choice = self._resolve(request.choice, sorted(person.roles))
        except DachubError as refusal:
            message = refusal.message
            if isinstance(refusal, NotFound):
                message = (
                    f"The directory does not know '{request.username}' yet. Log out and in again; "
                    f"if that does not help, ask {self._offer.contact}."
                )
            return await self._refuse(request, refusal.code, message)
        rescue = await self._rescue(request, choice.group)
        if rescue is not None:
            choice = choice.model_copy(update={"size": self._offer.rescue})
        positions = await self._read([choice.group], request.username)
        contacts = (await self._groups.contacts([choice.group])).get(choice.group, Contacts())
        asked = [position for position in positions if position.resource.rate(choice.size)]
        balance = self._balance(positions, contacts, request.username, [choice.size])
        message = self._advice(asked, balance, contacts, request.username)
        for position in asked:
            code = _closed(position, request.username)
            if code is None:
                continue
            if rescue is None or await self._is_rescued(request.username):
                said = self._message(position, contacts, request.username)
                return await self._refuse(request, code, said, choice, balance)
            message = f"{message} {RESCUED}"
            break
        try:
            place = await self._place(request, choice)
        except ChoiceRefused as refusal:
            return await self._refuse(request, refusal.code, refusal.message, choice, balance)
        return Decision(
            allowed=True,
            place=place,
            code=rescue.code if rescue else "ok",
            rescue=rescue.message if rescue else None,
            message=message,
            group=choice.group,
            size=choice.size.name,
            environment=choice.environment.name,
            image=choice.environment.image if choice.environment.is_own else None,
            balance=balance,
        )

    async def _place(self, request: AuthorizeRequest, choice: ResolvedChoice) -> Place | None:
        """Where the server waits for cores; ``None`` where there are some."""
        if request.session_id is None:
            return None
        return await self._queue.enter(
            request.session_id,
            username=request.username,
            server_name=request.server_name,
            group=choice.group,
            milli_cores=choice.size.milli_cores,
            is_rescue=choice.size == self._offer.rescue,
        )

    def _resolve(self, choice: ServerChoice, groups: Sequence[str]) -> ResolvedChoice:
        offer, today = self._offer, self._clock.now().date()
        return resolve_choice(
            choice, groups, offer.sizes, offer.environments, offer.own_images, today
        )

    def _advice(
        self,
        asked: Sequence[Position],
        balance: GroupBalance,
        contacts: Contacts,
        username: str,
    ) -> str:
        """What somebody whose server starts should know."""
        said = [self._message(position, contacts, username) for position in asked]
        said += [
            f"For a server of this size ({one.size}) what is left is {one.text}."
            for one in balance.forecasts
            if one.text and (one.lasts_seconds or 0) < FORECAST_TOLD_SECONDS
        ]
        return " ".join(sentence for sentence in said if sentence)

    async def _rescue(self, request: AuthorizeRequest, group: str) -> RescueReason | None:
        """What the hub found, else the first reason that a check finds."""
        if request.trouble:
            return RescueReason(HOME_FULL, request.trouble)
        for check in self._start_checks:
            if (reason := await check(request.username, group)) is not None:
                return reason
        return None

    async def _is_rescued(self, username: str) -> bool:
        """Whether a rescue session of the person runs already."""
        running = await self._sessions.running(username)
        return any(session.size == self._offer.rescue.name for session in running)

    async def _refuse(
        self,
        request: AuthorizeRequest,
        code: str,
        message: str,
        choice: ResolvedChoice | None = None,
        balance: GroupBalance | None = None,
    ) -> Decision:
        group = choice.group if choice else request.choice.group
        if request.session_id is not None:
            await self._queue.leave(request.session_id)
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

    async def _read(self, groups: Sequence[str], username: str | None) -> list[Position]:
        """Positions of groups with the standings of this moment, which nobody may have kept yet."""
        now = self._clock.now()
        found = await self._positions.read(groups, now, username=username)
        return [advanced(position, now) for position in found.values()]

    async def _balances(
        self, groups: Sequence[str], username: str
    ) -> Mapping[str, Sequence[GroupBalance]]:
        """Of each group the core-hours first."""
        positions = await self._read(groups, username)
        contacts = await self._groups.contacts(groups)
        found: dict[str, list[GroupBalance]] = {}
        for group, of_group in groupby(positions, key=attrgetter("group")):
            _, *others = together = list(of_group)
            whom = contacts.get(group, Contacts())
            sizes = [
                size for size in self._offer.sizes if size.groups is None or group in size.groups
            ]
            found[group] = [
                self._balance(together, whom, username, sizes),
                *(self._balance([other], whom, username, ()) for other in others),
            ]
        return found

    def _balance(
        self,
        positions: Sequence[Position],
        contacts: Contacts,
        username: str,
        sizes: Sequence[Size],
    ) -> GroupBalance:
        """The balance of the first of ``positions``; what sizes may do depends on all of them."""
        position, now = positions[0], self._clock.now()
        pool, member = position.pool, position.members.get(username)
        return GroupBalance(
            group=position.group,
            title=contacts.title,
            resource=position.resource,
            since=position.since,
            used=position.measured.used,
            allocated=None if pool is None else pool.allocated,
            left=None if pool is None else pool.left,
            resets_at=None if pool is None else pool.next_at,
            policy=position.policy.when_spent,
            state=position.standing.state,
            running_milli_cores=position.milli_cores,
            projected_exhaustion_at=exhausted_at(position, now),
            member_limit=None if member is None else member.limit,
            member_used=None if member is None else member.measured.used,
            member_state=QuotaState.OK if member is None else member.standing.state,
            contacts=list(contacts.pis),
            message=self._message(position, contacts, username),
            forecasts=[forecast(size, positions, username, now) for size in sizes],
        )

    def _message(self, position: Position, contacts: Contacts, username: str) -> str:
        """What is to be said of a resource: of the person's own limit, and of the group's."""
        ask = wording.whom(contacts.pis, self._offer.contact)
        said = [wording.group_message(position, ask)]
        if (member := position.members.get(username)) is not None:
            said.insert(0, wording.member_message(position, member, ask))
        return " ".join(sentence for sentence in said if sentence)

    async def _last_choice(self, username: str, groups: list[str]) -> ServerChoice:
        """The last choice as far as it is still open to the person."""
        last = await self._sessions.latest(username)
        if last is None or last.group not in groups:
            return ServerChoice()
        chosen = ServerChoice(group=last.group)
        # Not its version: who names none goes along with what is recommended.
        environment, _, _ = last.environment.partition(":")
        for name, value in (("size", last.size), ("environment", environment)):
            wanted = chosen.model_copy(update={name: value})
            try:
                self._resolve(wanted, groups)
            except ChoiceRefused:
                continue
            chosen = wanted
        return chosen


def _still_holds(notice: Notice, balances: Mapping[str, Sequence[GroupBalance]]) -> bool:
    """Whether a notice says more of now than what else is on the start page.

    Stops to come are told from the sessions themselves; of notices of maintenance they are the
    urgent ones. What was spent is past where all is well.
    """
    if notice.kind is NoticeKind.MAINTENANCE:
        return notice.severity is not Severity.URGENT
    if notice.kind is NoticeKind.STOP:
        return False
    if notice.kind is not NoticeKind.QUOTA or not notice.group:
        return True
    return any(
        state is not QuotaState.OK
        for balance in balances.get(notice.group, ())
        for state in (balance.state, balance.member_state)
    )


def _closed(position: Position, username: str) -> str | None:
    """Why nothing may start with this resource; ``None`` where it may."""
    if not position.standing.state.may_start:
        return NO_ALLOCATION if position.pool is None else ALLOCATION_SPENT
    member = position.members.get(username)
    if member is not None and not member.standing.state.may_start:
        return MEMBER_LIMIT_SPENT
    return None
