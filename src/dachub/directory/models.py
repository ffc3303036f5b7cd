"""Plain values of the directory: who acts, and in which capacity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dachub.model.people import Role
from dachub.model.problems import DachubError, PermissionDenied


class PrincipalKind(StrEnum):
    """In which capacity somebody calls."""

    PERSON = "person"  # in a browser, or with a token of their own
    SERVER = "server"  # a user's server, with its own token: acts for the person, never administers
    HUB = "hub"
    OPERATOR = "operator"  # the command line on the machine itself


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks for something to be done.

    Attributes
    ----------
    name
        Username; ``hub`` or ``operator:<account>`` for the others.
    roles
        Slug of each current group -> the person's role in it.
    """

    name: str
    kind: PrincipalKind
    administrator: bool = False
    roles: Mapping[str, Role] = field(default_factory=dict)

    @property
    def is_administrator(self) -> bool:
        """Whether it may administer: an administrator in person, or the operator of the machine."""
        return self.kind is PrincipalKind.OPERATOR or (
            self.kind is PrincipalKind.PERSON and self.administrator
        )

    def has(self, group: str, role: Role) -> bool:
        """Whether it holds at least ``role`` in ``group``; administrators hold every role."""
        held = self.roles.get(group)
        return self.is_administrator or (held is not None and held.rank >= role.rank)

    def require_administrator(self) -> None:
        """Raise :class:`PermissionDenied` unless it may administer."""
        if not self.is_administrator:
            raise PermissionDenied("Only administrators may do this.")

    def require(self, group: str, role: Role) -> None:
        """Raise :class:`PermissionDenied` unless it holds at least ``role`` in ``group``."""
        if not self.has(group, role):
            raise PermissionDenied(
                f"Only a {role.value} of the group '{group}' or an administrator may do this."
            )

    def require_self(self, username: str) -> None:
        """Raise :class:`PermissionDenied` unless it is ``username`` or may administer."""
        if self.kind is PrincipalKind.HUB or (self.name != username and not self.is_administrator):
            raise PermissionDenied("This belongs to another person.")

    def require_hub(self) -> None:
        """Raise :class:`PermissionDenied` unless it is the hub."""
        if self.kind is not PrincipalKind.HUB:
            raise PermissionDenied("Only the hub may do this.")


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """Somebody was made member of a group, given another role, or (without one) removed."""

    group: str
    title: str
    username: str
    role: Role | None
    by: str
    at: datetime


Listener = Callable[[MembershipChange], Awaitable[None]]
"""Is told of every change of a local membership, in its transaction."""


async def nobody(_: MembershipChange) -> None:
    """Take no note: a :class:`Listener` where nobody listens."""


class AccountDisabled(DachubError):
    """The person was disabled by an administrator."""

    code = "account-disabled"
    status = 403


class IdentityConflict(DachubError):
    """The name asked for is bound to another identity."""

    code = "identity-conflict"
    status = 409


class ProviderMembership(DachubError):
    """The identity provider asserts the membership, so it can only be changed there."""

    code = "provider-membership"
    status = 409


class LastPI(DachubError):
    """The group would be left without a PI."""

    code = "last-pi"
    status = 409


class KeyReused(DachubError):
    """A key that stands for one wish was sent with another."""

    code = "idempotency-key-reused"
    status = 422


class WeakPassword(DachubError):
    """The password does not meet the policy."""

    code = "weak-password"
    status = 422


class WrongPassword(DachubError):
    """The current password is not right."""

    code = "wrong-password"
    status = 403


class TooManyAttempts(DachubError):
    """Too many wrong passwords in a minute."""

    code = "too-many-attempts"
    status = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to something sent, now or when it was sent before."""

    text: str
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Contacts:
    """A group's title and the names of its PIs."""

    title: str = ""
    pis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A disabled person whose servers and tokens the hub has not yet ended."""

    username: str
    disabled_at: datetime
