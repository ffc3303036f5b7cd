"""What an identity provider says of a person, made plain; pure functions, nothing is trusted.

Entitlements follow AARC-G069 (``<namespace>:group:<GROUP>[:<SUBGROUP>..][:role=<ROLE>]#<WHO>``)
or the older form with ``registry:`` before the group; values are percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from dachub.hub.settings import OpenIDSettings, Preset
from dachub.model.names import username_candidate
from dachub.model.people import SUBJECT_MAX, ClaimedMembership, Role
from dachub.model.problems import DachubError, PermissionDenied

# Its own namespace only: a provider may pass on what others say, and those may say anything.
EGI_PATTERN = (
    r"^urn:mace:egi\.eu:group:(?:registry:)?(?P<group>.+?)"
    r"(?::role=(?P<role>[^:#]+))?(?:#[^#]*)?$"
)
PLAIN_PATTERN = r"^/?(?P<group>.+)$"
TEXT_MAX = 500
GROUPS_MAX = 1000
VALUE_MAX = 2000


@dataclass(frozen=True, slots=True)
class Reading:
    """How the claims of a provider are read; what the settings leave open comes from the preset."""

    scopes: tuple[str, ...]
    username_claims: tuple[str, ...]
    name_claim: str
    email_claim: str
    affiliation_claims: tuple[str, ...]
    groups_claims: tuple[str, ...]
    groups_pattern: str
    title: str


_PLAIN = Reading(
    scopes=("openid", "profile", "email"),
    username_claims=("preferred_username", "email"),
    name_claim="name",
    email_claim="email",
    affiliation_claims=("eduperson_scoped_affiliation", "voperson_external_affiliation"),
    groups_claims=("entitlements", "eduperson_entitlement", "groups"),
    groups_pattern=PLAIN_PATTERN,
    title="OpenID Connect",
)
PRESETS: Mapping[Preset, Reading] = {
    "egi-check-in": Reading(
        scopes=(
            "openid",
            "profile",
            "email",
            "offline_access",
            "entitlements",
            "eduperson_entitlement",
            "eduperson_scoped_affiliation",
            "voperson_external_affiliation",
        ),
        username_claims=("preferred_username",),
        name_claim="name",
        email_claim="email",
        affiliation_claims=("eduperson_scoped_affiliation", "voperson_external_affiliation"),
        groups_claims=("entitlements", "eduperson_entitlement", "edu_person_entitlements"),
        groups_pattern=EGI_PATTERN,
        title="EGI Check-in",
    ),
    "iris-iam": Reading(
        scopes=("openid", "profile", "email", "offline_access"),
        username_claims=("preferred_username",),
        name_claim="name",
        email_claim="email",
        affiliation_claims=("organisation_name",),
        groups_claims=("groups",),
        groups_pattern=PLAIN_PATTERN,
        title="IRIS IAM",
    ),
    "keycloak": Reading(
        scopes=("openid", "profile", "email"),
        username_claims=("preferred_username", "email"),
        name_claim="name",
        email_claim="email",
        affiliation_claims=("eduperson_scoped_affiliation", "affiliation"),
        groups_claims=("entitlements", "groups"),
        groups_pattern=PLAIN_PATTERN,
        title="Keycloak",
    ),
    "generic": _PLAIN,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """A person as the provider describes them.

    Attributes
    ----------
    groups
        Names of the provider's groups, subgroups separated by ``:``; a subgroup's member is not
        taken to be in the group above unless the provider says so.
    """

    subject: str
    candidate: str
    full_name: str
    email: str
    affiliations: tuple[str, ...]
    memberships: tuple[ClaimedMembership, ...]
    groups: frozenset[str]


class UnusableClaims(DachubError):
    """The provider's answer lacks what makes a person."""

    code = "unusable-claims"
    status = 502


class EntryRefused(PermissionDenied):
    """The person is known to the provider but is in none of the groups that let people in."""

    code = "entry-refused"


def reading_of(settings: OpenIDSettings) -> Reading:
    """How to read the claims of the configured provider."""
    preset = PRESETS[settings.preset]
    return Reading(
        scopes=settings.scopes or preset.scopes,
        username_claims=settings.username_claims or preset.username_claims,
        name_claim=settings.name_claim or preset.name_claim,
        email_claim=settings.email_claim or preset.email_claim,
        affiliation_claims=settings.affiliation_claims or preset.affiliation_claims,
        groups_claims=settings.groups_claims or preset.groups_claims,
        groups_pattern=settings.groups_pattern or preset.groups_pattern,
        title=settings.title or preset.title,
    )


def read_claims(raw: Mapping[str, object], settings: OpenIDSettings) -> Claims:
    """Make a person out of the claims of a provider.

    Parameters
    ----------
    raw
        The answer of the provider's userinfo endpoint.

    Raises
    ------
    UnusableClaims
        If there is no usable ``sub``; everything else may be missing or malformed.
    """
    reading = reading_of(settings)
    subject = raw.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX or "\0" in subject:
        raise UnusableClaims("The identity provider did not say who you are (no usable 'sub').")
    memberships = _memberships(raw, reading, settings)
    full_name = _text(raw.get(reading.name_claim)) or " ".join(
        part for part in (_text(raw.get("given_name")), _text(raw.get("family_name"))) if part
    )
    return Claims(
        subject=subject,
        candidate=_candidate(raw, reading),
        full_name=full_name[:TEXT_MAX],
        email=_text(raw.get(reading.email_claim)),
        affiliations=_affiliations(raw, reading),
        memberships=memberships,
        groups=frozenset(membership.provider_name for membership in memberships),
    )


def check_entry(claims: Claims, settings: OpenIDSettings, contact: str) -> None:
    """Let in who is in the required groups.

    Raises
    ------
    EntryRefused
        With a message that says which groups let people in and whom to ask.
    """
    rule = settings.required_groups
    lacking = [group for group in rule.all_of if group not in claims.groups]
    if lacking:
        raise EntryRefused(
            "You signed in, but this platform is only open to members of "
            f"{_listed(rule.all_of, 'and')}; your identity provider does not list you in "
            f"{_listed(lacking, 'or')}. New memberships can take a while to arrive. "
            f"Ask {contact} for access, then sign in again."
        )
    if rule.any_of and not claims.groups.intersection(rule.any_of):
        raise EntryRefused(
            "You signed in, but this platform is only open to members of "
            f"{_listed(rule.any_of, 'or')}, and your identity provider lists you in none of them. "
            "New memberships can take a while to arrive. "
            f"Ask {contact} for access, then sign in again."
        )


def is_administrator(claims: Claims, settings: OpenIDSettings) -> bool:
    """Whether one of the person's groups administers the platform."""
    return bool(claims.groups.intersection(settings.administrator_groups))


def _listed(names: Sequence[str], word: str) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def _text(value: object) -> str:
    """One line of printable text, or nothing."""
    if not isinstance(value, str):
        return ""
    cleaned = "".join(
        char if char.isprintable() else " " for char in value[: 4 * TEXT_MAX] if char != "\0"
    )
    return " ".join(cleaned.split())[:TEXT_MAX]


def _values(value: object) -> list[str]:
    """A claim that is one string or a list of them; anything else counts for nothing."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items[: 4 * GROUPS_MAX] if isinstance(item, str)]


def _candidate(raw: Mapping[str, object], reading: Reading) -> str:
    for claim in reading.username_claims:
        if candidate := username_candidate(_text(raw.get(claim))):
            return candidate
    return ""


def _affiliations(raw: Mapping[str, object], reading: Reading) -> tuple[str, ...]:
    found = dict.fromkeys(
        cleaned
        for claim in reading.affiliation_claims
        for value in _values(raw.get(claim))
        if (cleaned := _text(value))
    )
    return tuple(found)[:100]


def _memberships(
    raw: Mapping[str, object], reading: Reading, settings: OpenIDSettings
) -> tuple[ClaimedMembership, ...]:
    claim = next((name for name in reading.groups_claims if name in raw), None)
    pattern = re.compile(reading.groups_pattern)
    roles: dict[str, Role] = {}
    for value in _values(raw.get(claim)) if claim else []:
        # A line break would pass for the end, what nobody sees for another group's name.
        if len(value) > VALUE_MAX or not value.isprintable():
            continue
        if (match := pattern.match(value)) is None:
            continue
        parts = match.groupdict()
        group = _group_name(parts.get("group"))
        if group:
            role = _role(parts.get("role"), settings)
            roles[group] = max(role, roles.get(group, role), key=lambda known: known.rank)
    return tuple(
        ClaimedMembership(provider_name=name, role=role)
        for name, role in list(roles.items())[:GROUPS_MAX]
    )


def _group_name(encoded: str | None) -> str | None:
    """Decoded part by part: an encoded ``:`` belongs to a name and cannot pass for a subgroup.

    A name that would have to be tidied up is none: tidied, it could be that of another group, whose
    members get in or administer.
    """
    parts = (encoded or "").replace("/", ":").strip(":").split(":")
    decoded = [unquote(part, errors="replace") for part in parts]
    name = ":".join(part.replace(":", "%3A") for part in decoded)
    plain = all(part == _text(part) for part in decoded) and len(name) <= TEXT_MAX
    return name if name and plain and "\N{REPLACEMENT CHARACTER}" not in name else None


def _role(encoded: str | None, settings: OpenIDSettings) -> Role:
    name = unquote(encoded or "").casefold()
    if name in {role.casefold() for role in settings.pi_roles}:
        return Role.PI
    if name in {role.casefold() for role in settings.manager_roles}:
        return Role.MANAGER
    return Role.MEMBER
