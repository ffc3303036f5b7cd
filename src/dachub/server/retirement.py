"""Tells people that a version of an environment which they use will be retired."""

from __future__ import annotations

from datetime import datetime, timedelta

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.names import is_pseudonym
from dachub.model.notices import NoticeKind, Severity
from dachub.model.software import Environment, EnvironmentVersion
from dachub.server.factory import Factory, Process

USED = timedelta(days=30)
"""Who worked with a version within this time still uses it."""
BY = Principal("service:retirement", PrincipalKind.OPERATOR)


async def tell_of_retirement(process: Process) -> str:
    """Tell everybody who still uses a version that goes, once."""
    servers, now = process.settings.servers, process.clock.now()
    last = now.date() + timedelta(days=servers.retirement_notice_days)
    going = [
        (environment, version)
        for environment in servers.environments
        for version in environment.offered(now.date())
        if version.retired_on is not None and version.retired_on <= last
    ]
    if not going:
        return "no version goes"
    async with process.factory() as services:
        users = await _users(services, now)
        told = 0
        for environment, version in going:
            name = f"{environment.name}:{version.name}"
            told += await _tell(services, environment, version, users.get(name, set()))
    return f"{len(going)} going, {told} people told"


async def _users(services: Factory, now: datetime) -> dict[str, set[str]]:
    """Who worked lately, by the environment and version."""
    report = await services.usage().report(
        BY, since=now - USED, until=now + timedelta(seconds=1), dimensions=("user", "environment")
    )
    users: dict[str, set[str]] = {}
    for row in report.rows:
        if row.environment and row.username and not is_pseudonym(row.username):
            users.setdefault(row.environment, set()).add(row.username)
    return users


async def _tell(
    services: Factory, environment: Environment, version: EnvironmentVersion, usernames: set[str]
) -> int:
    """Tell people of one version; how many had not been told of this day before."""
    day = version.retired_on
    if not usernames or day is None:
        return 0
    successor = environment.preset(day)
    advice = (
        f"Start with {environment.name}:{successor.name} from now on, and see whether your work "
        "runs there as it does now."
        if successor is not None
        else "No other version is offered yet."
    )
    told = await services.notices().give(
        usernames,
        key=f"version-retired/{environment.name}:{version.name}/{day}",
        kind=NoticeKind.SOFTWARE,
        severity=Severity.WARNING,
        title=f"{environment.label} {version.name} goes on {day:%-d %B %Y}",
        text=f"You worked with the version {version.name} of {environment.label} lately. From "
        f"{day:%-d %B %Y} on no server starts with it; one that runs then goes on. {advice}",
    )
    return len(told)
