"""What quotas say to people: what happened, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dachub.model.notices import Severity
from dachub.model.queue import WaitsFor
from dachub.model.sessions import SessionRecord
from dachub.model.units import (
    MILLI_CORES_PER_CORE,
    SECONDS_PER_HOUR,
    SECONDS_PER_MINUTE,
    cores,
)
from dachub.model.usage import QuotaState, Resource
from dachub.quota.models import CoreLimits, Permit
from dachub.quota.services.balance import Pool
from dachub.quota.services.policy import Step, StepKind, grace_amount, grace_ends_at
from dachub.quota.services.positions import MemberPosition, Position

PRESSING_PERCENT = 90
"""From then on a threshold is a warning, before that it is for information."""
HOURS_TOLD = 48
"""Longer times are told in days."""


def amount(units: int, resource: Resource) -> str:
    """An amount in base units, to a tenth of what people speak of; below one more exactly."""
    spoken = units / resource.base_units
    return f"{spoken:,.3f}" if 0 < abs(spoken) < 1 else f"{spoken:,.1f}"


def duration(seconds: int) -> str:
    """How long, never more than it is: minutes, hours to a tenth, days."""
    if seconds < SECONDS_PER_HOUR:
        return _counted(f"{seconds // SECONDS_PER_MINUTE}", "minute")
    tenths = seconds * 10 // SECONDS_PER_HOUR
    if tenths < HOURS_TOLD * 10:
        return _counted(f"{tenths / 10:g}", "hour")
    return _counted(f"{seconds // (24 * SECONDS_PER_HOUR)}", "day")


def _counted(number: str, unit: str) -> str:
    return f"{number} {unit}{'' if number == '1' else 's'}"


def day_and_time(moment: datetime) -> str:
    """A moment in UTC; midnights as the day alone."""
    if (moment.hour, moment.minute, moment.second) == (0, 0, 0):
        return f"{moment:%-d %B %Y}"
    return f"{moment:%-d %B %Y, %H:%M} UTC"


def clock_time(moment: datetime, now: datetime) -> str:
    """A moment in UTC; of today the time alone."""
    if moment.date() == now.date():
        return f"{moment:%H:%M} UTC"
    return f"{moment:%-d %B, %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Told:
    """A notice's words."""

    severity: Severity
    title: str
    text: str


def whom(contacts: Sequence[str], site_contact: str) -> str:
    """Whom to ask for more."""
    return f"{' or '.join(contacts)} (PI)" if contacts else site_contact


def group_message(position: Position, ask: str) -> str:
    """For the start page and the decision; empty while all is well."""
    state = position.standing.state
    if state is QuotaState.OK:
        return ""
    group, resource = position.group, position.resource
    if position.pool is None:
        consequence = (
            "so what it uses is covered by none" if state.may_start else _closed_without(state)
        )
        return (
            f"The group '{group}' has no allocation of {resource.unit} at present, {consequence}. "
            f"Ask {ask}."
        )
    said = f"The group '{group}' has used {_used(position)}: "
    if not position.measured.is_spent:
        said += f"{amount(position.pool.left, resource)} are left."
    else:
        said += f"nothing is left{_consequence(position)}."
    return f"{said} {_then(position.pool)} For more, ask {ask}."


def member_message(position: Position, member: MemberPosition, ask: str) -> str:
    """The same of a person's own limit."""
    state = member.standing.state
    if state is QuotaState.OK:
        return ""
    unit = position.resource.unit
    said = (
        f"You have used {amount(member.measured.used, position.resource)} of the "
        f"{amount(member.limit, position.resource)} {unit} that you may use in the group "
        f"'{position.group}'"
    )
    if state is QuotaState.GRACE:
        said += "; servers still start for now, but not much longer"
    elif not state.may_start:
        said += ", so you can start no new server on it"
        said += " and what you run on it is stopped" if state is QuotaState.STOPPING else ""
    return f"{said}. Others are not affected. {_ask_the_pi(position.group, ask)}"


def group_step(position: Position, step: Step, ask: str) -> Told:
    """The notice that a group's members get of a step."""
    what = f"{position.resource.unit} of {position.group}"
    if position.pool is None:
        text = group_message(position, ask)
        return Told(Severity.WARNING, f"No allocation: {what}", text)
    then, more = _then(position.pool), f"For more, ask {ask}."
    used = f"The group has used {_used(position)}."
    match step.kind:
        case StepKind.REOPENED:
            left = amount(position.pool.left, position.resource)
            return Told(
                Severity.INFO,
                f"The {what} are available again",
                f"{left} are left; servers start as before, and none is stopped. {then}",
            )
        case StepKind.WARNED:
            spent = position.measured.is_spent
            share = "" if spent else f"{step.percent} % of "
            title = f"{share}the {what} are used{' up' if spent else ''}"
            left = "Servers still start." if spent else ""
            severity = Severity.INFO if step.percent < PRESSING_PERCENT else Severity.WARNING
            return Told(severity, title[0].upper() + title[1:], _joined(used, left, then, more))
        case StepKind.GRACE:
            until = f"Servers still start{_grace(position)}; after that none do."
            return Told(
                Severity.WARNING,
                f"The {what} are used up; a grace has begun",
                _joined(used, until, then, more),
            )
        case StepKind.CLOSED:
            return Told(
                Severity.WARNING,
                f"The {what} are used up; no new servers",
                _joined(used, "What runs goes on; new servers are refused.", then, more),
            )
        case StepKind.STOPPING:
            notice = duration(position.policy.stop_notice_seconds)
            return Told(
                Severity.URGENT,
                f"The {what} are used up; running servers will be stopped",
                _joined(
                    used,
                    f"New servers are refused, and those that run are stopped in {notice}: save "
                    "your work. Files stay as they are.",
                    then,
                    more,
                ),
            )


def member_step(position: Position, member: MemberPosition, step: Step, ask: str) -> Told:
    """The notice that a person gets of a step of their own limit."""
    unit, group = position.resource.unit, position.group
    used = (
        f"You have used {amount(member.measured.used, position.resource)} of the "
        f"{amount(member.limit, position.resource)} {unit} that you may use in {group}; others of "
        "the group are not affected."
    )
    more = _ask_the_pi(group, ask)
    match step.kind:
        case StepKind.REOPENED:
            return Told(Severity.INFO, f"You may start servers on {group} again", used)
        case StepKind.WARNED:
            severity = Severity.INFO if step.percent < PRESSING_PERCENT else Severity.WARNING
            title = f"{step.percent} % of your {unit} in {group} are used"
            return Told(severity, title, f"{used} {more}")
        case StepKind.GRACE:
            title = f"Your {unit} in {group} are used up; a grace has begun"
            return Told(Severity.WARNING, title, f"{used} Servers still start for now. {more}")
        case StepKind.CLOSED:
            title = f"Your {unit} in {group} are used up; you can start no new servers"
            return Told(Severity.WARNING, title, f"{used} What you run goes on. {more}")
        case StepKind.STOPPING:
            notice = duration(member.policy.stop_notice_seconds)
            return Told(
                Severity.URGENT,
                f"Your {unit} in {group} are used up; your servers will be stopped",
                f"{used} What you run on it is stopped in {notice}: save your work. {more}",
            )


def place(
    number: int, waiting: int, permit: Permit, waits_for: WaitsFor, in_use: int, limit: int
) -> str:
    """Where somebody is in the queue, and why they wait."""
    whose, wanted = _whose(permit, waits_for), permit.milli_cores
    free = limit - in_use
    if free <= 0:
        which = "the one core" if limit == MILLI_CORES_PER_CORE else f"all {cores(limit)}"
        why = f"{which} {whose} {_is(limit)} in use"
    else:
        why = f"{cores(free)} of the {cores(limit)} {whose} {_is(free)} free, "
        why += "others came first" if wanted <= free else f"yours needs {cores(wanted)}"
    return (
        f"You are number {number} of {waiting} in the queue: {why}. "
        "Your server starts by itself when it is your turn."
    )


def too_large(permit: Permit, limits: CoreLimits, contact: str) -> str:
    """Why a server could never start."""
    limit, whose = limits.of(permit.group), WaitsFor.GROUP
    if limit is None or permit.is_rescue or (limits.site is not None and limits.site < limit):
        limit, whose = limits.site, WaitsFor.SITE
    return (
        f"The server that you chose has {cores(permit.milli_cores)}, and there are only "
        f"{cores(limit or 0)} {_whose(permit, whose)}. Choose a smaller one, or ask {contact}."
    )


def own_servers(permit: Permit, waits_for: WaitsFor, own: int, limit: int) -> str:
    """Why a server would wait for nobody but its owner."""
    return (
        f"Your own servers have {cores(own)} of the {cores(limit)} {_whose(permit, waits_for)}, "
        f"and this one needs {cores(permit.milli_cores)}: it could never start beside them. "
        "Stop one of them first."
    )


def _whose(permit: Permit, waits_for: WaitsFor) -> str:
    if waits_for is WaitsFor.SITE:
        return "of the site"
    return f"that the group '{permit.group}' may use at once"


def _is(milli_cores: int) -> str:
    return "is" if milli_cores == MILLI_CORES_PER_CORE else "are"


def _ask_the_pi(group: str, ask: str) -> str:
    """How a member gets a higher limit of their own."""
    return f"For more, ask {ask} under Groups, {group}, Requests."


def stopped(session: SessionRecord, ask: str) -> Told:
    """The notice that the owner of a server gets after it was stopped."""
    name = session.server_name or "default"
    at = f" at {session.ended_at:%H:%M} UTC" if session.ended_at else ""
    return Told(
        Severity.WARNING,
        f"Your server '{name}' was stopped{at}",
        f"The computing time that you may use on {session.group} is used up. Your files are as "
        f"they were; what was not saved is gone. For more, ask {ask}.",
    )


def _used(position: Position) -> str:
    used, allowed = position.measured.used, position.measured.allowed
    return (
        f"{amount(used, position.resource)} of its {amount(allowed, position.resource)} "
        f"{position.resource.unit}"
    )


def _then(pool: Pool) -> str:
    if pool.next_is_planned:
        return f"Its next allocation begins on {day_and_time(pool.next_at)}."
    return f"Its allocation ends on {day_and_time(pool.next_at)}, and no other is planned yet."


def _closed_without(state: QuotaState) -> str:
    said = "so nothing can be started on it"
    return f"{said} and what runs is stopped" if state is QuotaState.STOPPING else said


def _consequence(position: Position) -> str:
    state = position.standing.state
    if state is QuotaState.GRACE:
        return f"; servers still start{_grace(position)}, then none do"
    if state.may_start:
        return "; servers still start, but the group is overdrawn"
    said = ", so no new server can be started on it"
    return f"{said} and running ones are stopped" if state is QuotaState.STOPPING else said


def _grace(position: Position) -> str:
    """How long a grace lasts, as far as that can be said."""
    limits = []
    extra = grace_amount(position.measured.allowed, position.policy)
    if extra:
        limits.append(f"{amount(extra, position.resource)} more {position.resource.unit} are used")
    ends_at = grace_ends_at(position.standing, position.policy)
    if ends_at is not None:
        limits.append(day_and_time(ends_at))
    return f" until {' or until '.join(limits)}" if limits else " for now"


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
