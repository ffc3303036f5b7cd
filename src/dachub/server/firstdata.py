"""What a new platform starts with: an administrator, and a group to try things out on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from dachub.directory.models import Principal
from dachub.model.people import Role
from dachub.model.usage import Policy, Resource
from dachub.server.factory import Process

TASK = "first-data"
ADMINISTRATOR = "admin"
TRIAL_GROUP = "trial"
TRIAL_CORE_HOURS = 1000
TRIAL_PERIOD = timedelta(days=365)


async def seed(process: Process, by: Principal, password: Callable[[], str]) -> str | None:
    """Make the first administrator and the trial group on a platform without people.

    Parameters
    ----------
    password
        Gives the administrator's password, and is called only if there is to be one.

    Returns
    -------
    str or None
        That password; ``None`` where nothing was made: without local accounts, with people, or
        while another process is at it.

    Raises
    ------
    WeakPassword
    """
    if not process.settings.login.local_accounts:
        return None
    async with process.alone(TASK) as alone:
        return await _seed(process, by, password) if alone else None


async def _seed(process: Process, by: Principal, password: Callable[[], str]) -> str | None:
    async with process.factory() as factory:
        if await factory.people().count():
            return None
        drawn = password()
        await factory.accounts().add(
            by, ADMINISTRATOR, full_name="Administrator", administrator=True, password=drawn
        )
        groups = factory.groups()
        await groups.create(
            by, TRIAL_GROUP, title="Trial", description="For first steps; made at the first start"
        )
        await groups.put_member(by, TRIAL_GROUP, ADMINISTRATOR, Role.PI)
        now = process.clock.now()
        await factory.allocations().create(
            by,
            group=TRIAL_GROUP,
            resource=Resource.CORE_HOURS,
            amount=TRIAL_CORE_HOURS,
            starts_at=now,
            ends_at=now + TRIAL_PERIOD,
            policy=Policy.WARN,
            reason="first start",
        )
    return drawn
