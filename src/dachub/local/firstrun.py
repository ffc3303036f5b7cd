"""The first password on one machine: drawn, written down, and forgotten once it was changed."""

from __future__ import annotations

import getpass
import os
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.files import write_private
from dachub.local.layout import Layout
from dachub.server import firstdata
from dachub.server.factory import Process
from dachub.server.firstdata import ADMINISTRATOR

# No letters that are taken for one another.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def operator() -> Principal:
    """Whoever runs commands on the machine itself, or in the service's container."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        name = str(os.getuid())
    return Principal(f"operator:{name}", PrincipalKind.OPERATOR)


def draw_password() -> str:
    """A password of about 99 bits that can be typed."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))


async def seed(layout: Layout, process: Process) -> str | None:
    """Make the first administrator and the trial group on a platform without people.

    Returns
    -------
    str or None
        The administrator's password, the one time it is made.
    """

    def draw() -> str:
        # Written first: a crash before the commit leaves a file without an account, and the next
        # start writes both anew; the other way round nobody would know the password.
        password = draw_password()
        write_private(layout.admin_password, password + "\n")
        return password

    return await firstdata.seed(process, operator(), draw)


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
