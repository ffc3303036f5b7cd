"""What a new platform starts with: an administrator, and a group to try things out on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from dachub.directory.models import Principal
from dachub.model.people import Role
from dachub.model.usage import Policy, Resource
from dachub.server import synthetic
from dachub.server.factory import Process

TASK = "first-data"
ADMINISTRATOR = "admin"
TRIAL_GROUP = "trial"
TRIAL_CORE_HOURS = 1000
TRIAL_PERIOD = timedelta(days=365)


async def seed(
    process: Process,
    by: Principal,
    password: Callable[[], str],
    synthetic_password: str = "",
) -> str | None:
    """Make what a platform without people starts with, all of it or nothing.

    That is the first administrator and the trial group, and in an instance that wants them the
    synthetic people.

    Parameters
    ----------
    password
        Gives the administrator's password, and is called only if there is to be one.
    synthetic_password
        With which all synthetic people log in; there are none without it.

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
        return await _seed(process, by, password, synthetic_password) if alone else None


async def _seed(
    process: Process, by: Principal, password: Callable[[], str], synthetic_password: str
) -> str | None:
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
        wanted = process.settings.synthetic
        if wanted is not None and synthetic_password:
            await synthetic.seed(factory, by, wanted, synthetic_password)
    return drawn
