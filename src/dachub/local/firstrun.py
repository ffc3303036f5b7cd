"""What a new platform starts with: an administrator, and a group to try things out on."""

from __future__ import annotations

import getpass
import secrets
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.files import write_private
from dachub.local.layout import Layout
from dachub.model.people import Role
from dachub.model.usage import Policy, Resource
from dachub.server.factory import Process

ADMINISTRATOR = "admin"
TRIAL_GROUP = "trial"
TRIAL_CORE_HOURS = 1000
TRIAL_PERIOD = timedelta(days=365)
# No letters that are taken for one another.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def operator() -> Principal:
    """Whoever runs commands on the machine itself."""
    return Principal(f"operator:{getpass.getuser()}", PrincipalKind.OPERATOR)


def draw_password() -> str:
    """A password of about 99 bits that can be typed."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))


async def seed(layout: Layout, settings: Settings, process: Process) -> str | None:
    """Make the first administrator and the trial group on a platform without people.

    Returns
    -------
    str or None
        The administrator's password, the one time it is made.
    """
    if not settings.login.local_accounts:
        return None
    by = operator()
    async with process.factory() as factory:
        if await factory.people().count():
            return None
        password = draw_password()
        # Written first: a crash before the commit leaves a file without an account, and the next
        # start writes both anew; the other way round nobody would know the password.
        write_private(layout.admin_password, password + "\n")
        await factory.accounts().add(
            by, ADMINISTRATOR, full_name="Administrator", administrator=True, password=password
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
    return password


async def forget_changed_password(layout: Layout, process: Process) -> None:
    """Remove the file with the first password once the administrator has another one."""
    if not layout.admin_password.exists():
        return
    first = layout.admin_password.read_text(encoding="utf-8").strip()
    async with process.factory() as factory:
        accounts = await factory.accounts().list_for_hub()
    for account in accounts:
        if account.username == ADMINISTRATOR:
            try:
                PasswordHasher().verify(account.password_hash, first)
            except VerifyMismatchError:
                layout.admin_password.unlink(missing_ok=True)
