"""Logins: binds identities to usernames for ever and takes over what the provider asserts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dachub.directory.models import AccountDisabled, IdentityConflict, Principal, PrincipalKind
from dachub.directory.services.audit import AuditService
from dachub.directory.services.text import clean
from dachub.directory.store.groups import GroupStore
from dachub.directory.store.people import Identity, PersonStore
from dachub.infra.clock import Clock
from dachub.model.names import (
    distinct_group_slug,
    group_slug,
    is_reserved_username,
    is_username,
    unique_username,
)
from dachub.model.people import (
    ClaimedMembership,
    HubPerson,
    LoginRecord,
    RefusalRecord,
    Role,
    Source,
)

LOCAL_ISSUER = "local"
HUB = Principal(name="hub", kind=PrincipalKind.HUB)
AFFILIATION_MAX = 250


class LoginService:
    """Applies what the hub witnessed at a login or a refresh."""

    def __init__(
        self, people: PersonStore, groups: GroupStore, audit: AuditService, clock: Clock
    ) -> None:
        self._people = people
        self._groups = groups
        self._audit = audit
        self._clock = clock

    async def record(self, login: LoginRecord) -> HubPerson:
        """Register a login or refresh; every effect is the same however often it is repeated.

        Claims that are older than those already held (a delayed report) change nothing.

        Raises
        ------
        IdentityConflict
            If the name the hub insists on is bound to another identity.
        AccountDisabled
            If an administrator disabled the person.
        """
        at = min(login.at, self._clock.now())
        await self._people.lock_identity(login.issuer, login.subject)
        identity = await self._people.identity(login.issuer, login.subject)
        if identity is None:
            identity = await self._bind(login, at)
        elif login.username not in (None, identity.username) and not await self._is_outdated(login):
            raise self._conflict(login, f"this identity is known as '{identity.username}'")
        username = identity.username
        if identity.disabled_at is not None:
            if not login.refresh:
                self._audit.note_refusal(
                    HUB, "login-refused", username=username, code=AccountDisabled.code
                )
            raise AccountDisabled(
                f"The account '{username}' was disabled by an administrator. "
                "Ask them if you think that is a mistake."
            )
        if identity.claims_at is None or at >= identity.claims_at:
            await self._take_over(username, login, at)
        if not login.refresh:
            await self._audit.record(HUB, "login", username=username, issuer=login.issuer)
        return await self._person(username)

    async def refuse(self, refusal: RefusalRecord) -> None:
        """Keep a login that the hub refused in the audit log."""
        await self._audit.record(
            HUB,
            "login-refused",
            username=refusal.claimed_name,
            issuer=refusal.issuer,
            code=refusal.code,
            refused_at=refusal.at.isoformat(),
        )

    async def _bind(self, login: LoginRecord, at: datetime) -> Identity:
        if login.issuer == LOCAL_ISSUER:
            # Local accounts are made here, never by logging in.
            raise self._conflict(login, "there is no such local account")
        if await self._is_outdated(login):
            login = login.model_copy(update={"username": None})
        for username in _names(login):
            if await self._people.bind(username, login.issuer, login.subject, at):
                await self._audit.record(
                    HUB, "user-registered", username=username, issuer=login.issuer
                )
                return Identity(username, login.issuer, login.subject, None, None)
        raise self._conflict(login, "the name belongs to somebody else")

    async def _is_outdated(self, login: LoginRecord) -> bool:
        """Whether the hub still knows the person by a name that was forgotten."""
        return login.username is not None and await self._people.is_forgotten(login.username)

    def _conflict(self, login: LoginRecord, why: str) -> IdentityConflict:
        name = login.username or login.candidate
        self._audit.note_refusal(
            HUB,
            "login-refused",
            username=name,
            issuer=login.issuer,
            code=IdentityConflict.code,
            why=why,
        )
        return IdentityConflict(
            f"You cannot be signed in as '{name}': {why}. "
            "Names are never passed on. Ask an administrator, who finds this in the audit log."
        )

    async def _take_over(self, username: str, login: LoginRecord, at: datetime) -> None:
        if login.issuer != LOCAL_ISSUER:
            # Of a local account the directory itself knows best.
            await self._people.describe(
                username,
                full_name=clean(login.full_name, 200),
                email=clean(login.email, 254),
                administrator=login.administrator,
            )
        # With the issuer they are a key: together not longer than an index can hold.
        values = {clean(value, AFFILIATION_MAX) for value in login.affiliations} - {""}
        await self._people.assert_affiliations(
            username, clean(login.issuer, 2000), sorted(values), at
        )
        await self._follow_provider(username, login.memberships, at)
        await self._people.seen(username, claims_at=at, login_at=None if login.refresh else at)

    async def _follow_provider(
        self, username: str, claimed: list[ClaimedMembership], at: datetime
    ) -> None:
        """Open and close provider memberships until they are what the provider claims."""
        roles: dict[str, Role] = {}
        for slug, role in await self._groups_of(claimed, at):
            roles[slug] = max(role, roles.get(slug, role), key=lambda known: known.rank)
        held = await self._groups.held(username=username, source=Source.PROVIDER)
        for membership in held:
            if roles.get(membership.group) is membership.role:
                del roles[membership.group]
                continue
            await self._groups.close(membership, at)
            if membership.group not in roles:
                await self._audit.record(
                    HUB,
                    "member-removed",
                    username=username,
                    group=membership.group,
                    source=Source.PROVIDER.value,
                )
        for slug, role in sorted(roles.items()):
            await self._groups.open(username, slug, role, Source.PROVIDER, at)
            await self._audit.record(
                HUB,
                "member-added",
                username=username,
                group=slug,
                role=role.value,
                source=Source.PROVIDER.value,
            )

    async def _groups_of(
        self, claimed: list[ClaimedMembership], at: datetime
    ) -> list[tuple[str, Role]]:
        """Slugs for the provider's names; groups not seen before are added."""
        names = {claim: clean(claim.provider_name, 500) for claim in claimed}
        wanted = sorted({name for name in names.values() if name})
        known = await self._groups.slugs_of(wanted)
        # Sorted, so that two logins that add the same groups cannot wait for each other.
        for name in wanted:
            if name not in known:
                known[name] = await self._add_group(name, at)
        return [(known[name], claim.role) for claim, name in names.items() if name in known]

    async def _add_group(self, name: str, at: datetime) -> str:
        # A local group of that slug is not the provider's to fill: the other slug keeps them apart.
        for slug in (group_slug(name), distinct_group_slug(name)):
            if await self._groups.add(
                slug, title=name[:200], description="", provider_name=name, at=at
            ):
                await self._audit.record(HUB, "group-added", group=slug, provider_name=name)
                return slug
            if found := (await self._groups.slugs_of([name])).get(name):
                return found
        raise IdentityConflict(f"No free name could be made for the provider's group '{name}'.")

    async def _person(self, username: str) -> HubPerson:
        person = (await self._people.people(now=self._clock.now(), usernames=[username]))[0]
        groups = await self._groups.memberships_of([username])
        return HubPerson(
            username=username,
            full_name=person.full_name,
            email=person.email,
            affiliations=[known.value for known in person.affiliations if known.current],
            administrator=person.administrator,
            disabled=person.disabled_at is not None,
            groups=groups.get(username, []),
        )


def _names(login: LoginRecord) -> Iterator[str]:
    """Names to try for a new identity; one only, where the hub has already given one out."""
    if login.username is not None:
        if not is_reserved_username(login.username):
            yield login.username
        return
    candidate = login.candidate if is_username(login.candidate) else ""
    if candidate and not is_reserved_username(candidate):
        yield candidate
    # The second digest is for the case that somebody claims the first to keep others out.
    for salt in ("", "\n1", "\n2"):
        yield unique_username(candidate, login.issuer, login.subject + salt)
