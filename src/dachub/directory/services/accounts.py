"""Local accounts: for trials, and for emergencies when no identity provider answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from dachub.directory.models import (
    Principal,
    PrincipalKind,
    TooManyAttempts,
    WeakPassword,
    WrongPassword,
)
from dachub.directory.services.audit import AuditService
from dachub.directory.services.logins import LOCAL_ISSUER
from dachub.directory.services.text import clean
from dachub.directory.store.people import LocalAccountStore, PersonStore
from dachub.infra.clock import Clock
from dachub.model.names import is_reserved_username, is_username
from dachub.model.people import LocalAccount, Person
from dachub.model.problems import Conflict, InvalidInput, NotFound, PermissionDenied

PASSWORD_MIN = 10
PASSWORD_MAX = 1000
ATTEMPTS_PER_MINUTE = 10
CHANGE_REFUSED = "password-change-refused"

_HASHER = PasswordHasher()  # argon2id with the parameters of RFC 9106 (low memory)


class LocalAccountService:
    """Adds local accounts and changes their passwords."""

    def __init__(
        self,
        accounts: LocalAccountStore,
        people: PersonStore,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._people = people
        self._audit = audit
        self._clock = clock

    async def add(
        self,
        by: Principal,
        username: str,
        *,
        full_name: str = "",
        email: str = "",
        administrator: bool = False,
        password: str,
    ) -> Person:
        """Register a person with a local account.

        Raises
        ------
        PermissionDenied
        InvalidInput
            If the username is malformed or reserved for the system.
        WeakPassword
        Conflict
            If the username is taken, by whatever kind of account.
        """
        by.require_administrator()
        if not is_username(username) or is_reserved_username(username):
            raise InvalidInput(
                f"'{clean(username, 40)}' cannot be a username: use up to 32 lower-case letters, "
                "digits and hyphens, beginning with a letter, and no name of the system's own."
            )
        _check_policy(password, username)
        now = self._clock.now()
        if not await self._people.bind(username, LOCAL_ISSUER, username, now):
            raise Conflict(f"The username '{username}' is taken. Names are never passed on.")
        await self._people.describe(
            username,
            full_name=clean(full_name, 200),
            email=clean(email, 254),
            administrator=administrator,
        )
        await self._accounts.put(username, await _hash(password), now)
        await self._audit.record(by, "user-added", username=username, administrator=administrator)
        return (await self._people.people(now=now, usernames=[username]))[0]

    async def set_password(self, by: Principal, username: str, new: str) -> None:
        """Set somebody's password, as an administrator.

        Raises
        ------
        PermissionDenied, WeakPassword
        NotFound
            If there is no local account of that name.
        """
        by.require_administrator()
        if await self._accounts.password_hash(username) is None:
            raise NotFound(f"There is no local account '{clean(username, 40)}'.")
        _check_policy(new, username)
        await self._put(username, new)
        await self._audit.record(by, "password-set", username=username)

    async def change_own_password(self, by: Principal, current: str, new: str) -> None:
        """Change one's own password.

        Raises
        ------
        PermissionDenied
            If ``by`` is not a person in person (a server's token must not do this).
        NotFound
            If the person signs in at an identity provider.
        WrongPassword, WeakPassword
        TooManyAttempts
            After some wrong ones in a minute: whoever found a browser unlocked could try for ever.
        """
        if by.kind is not PrincipalKind.PERSON:
            raise PermissionDenied("Change your password in the portal, signed in as yourself.")
        password_hash = await self._accounts.password_hash(by.name)
        if password_hash is None:
            raise NotFound("You have no password here: you sign in at your identity provider.")
        minute_ago = self._clock.now() - timedelta(minutes=1)
        if await self._audit.count(by.name, CHANGE_REFUSED, minute_ago) >= ATTEMPTS_PER_MINUTE:
            raise TooManyAttempts("Too many attempts. Wait a minute, then try again.")
        if not await _matches(password_hash, current):
            self._audit.note_refusal(by, CHANGE_REFUSED, username=by.name)
            raise WrongPassword("The current password is not right.")
        _check_policy(new, by.name)
        await self._put(by.name, new)
        await self._audit.record(by, "password-changed", username=by.name)

    async def has_account(self, username: str) -> bool:
        """Whether a person signs in with a password of ours."""
        return await self._accounts.password_hash(username) is not None

    async def list_for_hub(self) -> list[LocalAccount]:
        """All local accounts with their hashes: the hub checks passwords by itself."""
        return await self._accounts.list()

    def etag(self, accounts: Sequence[LocalAccount]) -> str:
        """Changes whenever the list does; tells nothing of the hashes in it."""
        digest = hashlib.sha256()
        for account in accounts:
            digest.update(account.model_dump_json().encode() + b"\n")
        return f'"{digest.hexdigest()[:32]}"'

    async def _put(self, username: str, password: str) -> None:
        await self._accounts.put(username, await _hash(password), self._clock.now())


def _check_policy(password: str, username: str) -> None:
    """Long enough, not the name, not one character only (NIST SP 800-63B asks for no more)."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise WeakPassword(f"A password has at least {PASSWORD_MIN} characters.")
    named = username in password.lower() and len(password) < 2 * PASSWORD_MIN
    if named or len(set(password)) < 4:
        raise WeakPassword(
            "This password is too easy to guess: it must not contain your username "
            "or consist of few different characters."
        )
    try:
        password.encode()
    except UnicodeEncodeError:
        raise WeakPassword("This password contains characters that cannot be stored.") from None


# Hashing takes about 50 ms of CPU: never on the event loop.
async def _hash(password: str) -> str:
    return await asyncio.to_thread(_HASHER.hash, password)


async def _matches(password_hash: str, password: str) -> bool:
    try:
        return await asyncio.to_thread(_HASHER.verify, password_hash, password)
    except (VerifyMismatchError, VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
