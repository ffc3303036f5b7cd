"""Names of people and groups, safe wherever the platform uses them.

A username is a Unix account (<= 32), a Kubernetes label (<= 63) and a PostgreSQL role (<= 63).
A group's slug is also a Slurm account and the account of Open XDMoD and APEL: at most 20 characters
of ASCII without blanks or pipes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from typing import Annotated

from pydantic import StringConstraints

UNIX_GROUP = "dachub-users"
"""Of all Unix accounts that dachub made; every server has it."""
USERNAME_MAX = 32
GROUP_SLUG_MAX = 20
USERNAME_PATTERN = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"
GROUP_SLUG_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,18}[a-z0-9])?$"

Username = Annotated[str, StringConstraints(pattern=USERNAME_PATTERN, max_length=USERNAME_MAX)]
GroupSlug = Annotated[str, StringConstraints(pattern=GROUP_SLUG_PATTERN, max_length=GROUP_SLUG_MAX)]

# Accounts of systems and of the platform's own programs, and groups of theirs that give power,
# installed already or later: nobody may become one by a claim.
RESERVED_USERNAMES = frozenset(
    """
    adm avahi backup bin ceph crontab daemon dachub dbus disk docker ftp games gdm gnats hub incus
    incus-admin input irc jupyterhub kmem kvm ldap libvirt list lp lpadmin lxd mail man messagebus
    microk8s munge mysql netdev news nginx nobody nogroup ntp operator plugdev podman polkitd
    postfix postgres proxy public pulse redis render root rpc rsyslog rtkit sasl service shadow
    shutdown slurm smmsp ssh sshd ssl-cert staff sudo sudoers sync sys syslog tape tcpdump tss tty
    users utmp uucp uuidd vboxusers video voice wheel wireshark www-data
    """.split()  # noqa: SIM905  a list of fifty lines would hide what it says
)
PSEUDONYM_PREFIX = "gone-"
UNKNOWN_PERSON = f"{PSEUDONYM_PREFIX}unknown"
"""Stands for a name whose term is over and that nobody registered ever had."""
_RESERVED_PREFIXES = ("dachub-", "libvirt-", "pg-", "systemd-", PSEUDONYM_PREFIX)

_USERNAME = re.compile(USERNAME_PATTERN.rstrip("$") + r"\Z")


def is_username(name: str) -> bool:
    """Whether ``name`` may be a username."""
    return _USERNAME.match(name) is not None


def is_reserved_username(name: str) -> bool:
    """Whether ``name`` belongs to the system and is nobody's to claim."""
    return name in RESERVED_USERNAMES or name.startswith(_RESERVED_PREFIXES)


def is_pseudonym(name: str) -> bool:
    """Whether ``name`` stands for a person whose own is no longer kept."""
    return name.startswith(PSEUDONYM_PREFIX)


def mention(username: str) -> str:
    """How a text that we write names a person, so that the name is told from a word like it."""
    return f"@{username}"


def new_pseudonym() -> str:
    """A username that says nothing of whom it stands for: drawn, not computed."""
    return f"{PSEUDONYM_PREFIX}{secrets.token_hex(6)}"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _digest(*parts: str, length: int) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def username_candidate(claimed: str) -> str:
    """Readable username out of a claim (`preferred_username`, an address); may be empty.

    A candidate only: who owns the name is decided by the directory's binding.
    """
    slug = re.sub(r"^[^a-z]+", "", _slug(claimed.split("@", 1)[0]))
    return slug[:USERNAME_MAX].strip("-")


def unique_username(candidate: str, issuer: str, subject: str) -> str:
    """Username no one else can arrive at: the candidate and a digest of (issuer, subject)."""
    suffix = _digest(issuer, subject, length=8)
    return f"{candidate[: USERNAME_MAX - 9].strip('-') or 'u'}-{suffix}"


def group_slug(name: str) -> str:
    """Slug of a group that an identity provider names (subgroups separated by ``:``).

    Names that differ only in what a slug cannot carry stay apart by a digest.
    """
    slug = _slug(name)
    faithful = re.sub(r"[:/ _.-]+", "-", name.lower()).strip("-") == slug
    if faithful and 0 < len(slug) <= GROUP_SLUG_MAX:
        return slug
    suffix = _digest(name, length=6)
    return f"{slug[: GROUP_SLUG_MAX - 7].strip('-') or 'g'}-{suffix}"


def distinct_group_slug(name: str) -> str:
    """Slug with a digest, for a name whose plain slug belongs to another group."""
    return f"{_slug(name)[: GROUP_SLUG_MAX - 7].strip('-') or 'g'}-{_digest(name, length=6)}"
