"""Who somebody is: told by the service, or by the hub's own memory while the service is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import argon2
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import ValidationError

from dachub.hub.clock import now
from dachub.hub.outbox import Outbox
from dachub.hub.service import LOCAL_ACCOUNTS, Service, ServiceDown, ServiceRefused
from dachub.hub.settings import LoginSettings
from dachub.model.names import group_slug, unique_username
from dachub.model.people import (
    GroupMembership,
    HubPerson,
    LocalAccount,
    LoginRecord,
    RefusalRecord,
    Source,
)
from dachub.model.problems import Conflict, DachubError, PermissionDenied

log = logging.getLogger(__name__)

LOCAL_ISSUER = "local"
ACCOUNTS_DOCUMENT = "local-accounts"
PASSWORD_MAX = 1000
# One address may be a whole institute.
ADDRESS_FACTOR = 10


class AccountDisabled(PermissionDenied):
    """The person was disabled by an administrator."""

    code = "account-disabled"


class NameTaken(Conflict):
    """The name belongs to another identity."""

    code = "identity-conflict"


class TooManyAttempts(DachubError):
    """Passwords are being guessed."""

    code = "too-many-attempts"
    status = 429


class People:
    """Registers logins and refreshes, and remembers whom it met."""

    def __init__(self, outbox: Outbox, service: Service, contact: str) -> None:
        self._outbox = outbox
        self._service = service
        self._contact = contact

    async def register(self, record: LoginRecord) -> HubPerson:
        """Tell the service of a login or refresh; who this is on the platform.

        While the service is down the hub goes by what it remembers; a newcomer then gets a name
        that nobody else can arrive at.

        Raises
        ------
        AccountDisabled
            If an administrator disabled the person.
        NameTaken
            If another identity owns the username.
        ServiceDown
            Never: an outage does not keep people out.
        """
        known = await self._outbox.username_of(record.issuer, record.subject)
        record = record.model_copy(update={"username": record.username or known})
        try:
            person = await self._service.record_login(record)
        except ServiceRefused as refusal:
            if refusal.problem_code == AccountDisabled.code:
                await self._note_disabled(record.username)
                raise self.disabled() from refusal
            if refusal.problem_code == NameTaken.code:
                raise NameTaken(refusal.message) from refusal
            log.error(  # noqa: TRY400 - its answer says all; a trace would not
                "The service refuses logins: %s (%s)", refusal.message, refusal.problem_code
            )
            return await self._register_alone(record)
        except ServiceDown as error:
            log.warning("%s The login is told later.", error.message)
            return await self._register_alone(record)
        await self._outbox.save_person(person)
        if person.disabled:
            raise self.disabled()
        if not await self._outbox.bind(record.issuer, record.subject, person.username):
            log.error("Username %r belongs to another identity here", person.username)
            raise NameTaken(
                f"The name '{person.username}' belongs to somebody else. Ask {self._contact}."
            )
        return person

    async def last_known(self, username: str) -> HubPerson:
        """What the hub remembers of a person; no groups where it remembers nothing."""
        return await self._outbox.person(username) or HubPerson(username=username)

    async def report_refusal(self, name: str, issuer: str, code: str) -> None:
        """Put a refused login on its way to the audit log."""
        await self._outbox.post_refusal(
            RefusalRecord(claimed_name=name[:200], issuer=issuer[:2000], code=code, at=now())
        )

    def disabled(self) -> AccountDisabled:
        """The error for a disabled person."""
        return AccountDisabled(
            f"Your account is disabled. Ask {self._contact} why, and to have it enabled again."
        )

    async def _register_alone(self, record: LoginRecord) -> HubPerson:
        username = record.username or unique_username(
            record.candidate, record.issuer, record.subject
        )
        person = await self.last_known(username)
        if person.disabled:
            raise self.disabled()
        if not await self._outbox.bind(record.issuer, record.subject, username):
            raise NameTaken(f"The name '{username}' belongs to somebody else. Ask {self._contact}.")
        await self._outbox.post_login(record.model_copy(update={"username": username}))
        kept = [group for group in person.groups if group.source is Source.LOCAL]
        # The directory may have had to give a group another slug than its name suggests.
        slugs = {one.title: one.group for one in person.groups if one.source is Source.PROVIDER}
        claimed = [
            GroupMembership(
                group=slugs.get(membership.provider_name) or group_slug(membership.provider_name),
                title=membership.provider_name,
                role=membership.role,
                source=Source.PROVIDER,
            )
            for membership in record.memberships
        ]
        person = person.model_copy(
            update={
                "groups": kept + claimed,
                "full_name": record.full_name or person.full_name,
                "email": record.email or person.email,
                "administrator": record.administrator,
            }
        )
        await self._outbox.save_person(person)
        return person

    async def _note_disabled(self, username: str | None) -> None:
        if username is not None:
            person = await self.last_known(username)
            await self._outbox.save_person(person.model_copy(update={"disabled": True}))


class Passwords:
    """Checks passwords of local accounts by the hub's own copy of them."""

    def __init__(self, outbox: Outbox, service: Service, settings: LoginSettings) -> None:
        self._outbox = outbox
        self._service = service
        # Two at a time: each takes tens of milliseconds and megabytes.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self._hasher = argon2.PasswordHasher()
        self._nobody = self._hasher.hash("nobody has this password")
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._per_name = RateLimitItemPerMinute(settings.attempts_per_minute)
        self._per_address = RateLimitItemPerMinute(settings.attempts_per_minute * ADDRESS_FACTOR)

    async def check(self, username: str, password: str, address: str) -> LocalAccount | None:
        """The account whose password this is, or ``None``; as slow for names that do not exist.

        Raises
        ------
        TooManyAttempts
            If the name or the address was wrong too often in the last minute.
        """
        name = username[:64]
        if not self._limiter.test(self._per_address, address) or not self._limiter.hit(
            self._per_name, name
        ):
            raise TooManyAttempts("Too many attempts. Wait a minute, then try again.")
        account = next(
            (found for found in await self._accounts() if found.username == username), None
        )
        right = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            self._verify,
            account.password_hash if account else self._nobody,
            password,
        )
        if account is None or not right:
            self._limiter.hit(self._per_address, address)
            return None
        self._limiter.clear(self._per_name, name)
        return account

    async def _accounts(self) -> Sequence[LocalAccount]:
        copy = await self._outbox.document(ACCOUNTS_DOCUMENT)
        try:
            fresh = await self._service.local_accounts(copy[0] if copy else None)
        except (ServiceDown, ServiceRefused) as error:
            log.warning("%s Passwords are checked by the last copy.", error.message)
            fresh = None
        if fresh is not None:
            await self._outbox.save_document(ACCOUNTS_DOCUMENT, *fresh)
            copy = fresh
        if copy is None:
            return []
        try:
            return LOCAL_ACCOUNTS.validate_json(copy[1])
        except ValidationError:
            log.exception("The copy of the local accounts cannot be read")
            return []

    def _verify(self, password_hash: str, password: str) -> bool:
        if not 0 < len(password) <= PASSWORD_MAX:
            return False
        try:
            return self._hasher.verify(password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
