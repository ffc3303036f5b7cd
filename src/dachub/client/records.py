"""What the client returns: the wire models, with hours and a display for people."""

from __future__ import annotations

from datetime import UTC, datetime

from dachub.client.display import Card, Facts
from dachub.model import people, sessions, usage
from dachub.model.units import SECONDS_PER_HOUR, core_hours


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


class Person(Card, people.Person):
    """You, as the platform knows you."""

    def _title(self) -> str:
        return f"{self.full_name or self.username} ({self.username})"

    def _facts(self) -> Facts:
        return [
            ("email", self.email),
            (
                "affiliations",
                ", ".join(
                    f"{each.value} (last asserted {each.last_asserted_at:%Y-%m-%d}"
                    f"{', stale' if each.stale else ''})"
                    for each in self.affiliations
                    if each.current
                ),
            ),
            ("groups", ", ".join(f"{each.group} ({each.role.value})" for each in self.groups)),
            ("administrator", "yes" if self.administrator else ""),
        ]


class Group(Card, people.Group):
    """A group you belong to."""

    def _title(self) -> str:
        return f"{self.title or self.slug} ({self.slug})"

    def _facts(self) -> Facts:
        return [
            ("description", self.description),
            ("PIs", ", ".join(self.pis)),
            ("members", ", ".join(f"{each.username} ({each.role.value})" for each in self.members)),
        ]


class Session(Card, sessions.SessionRecord):
    """A session in the ledger."""

    @property
    def core_hours(self) -> float:
        """Core-hours charged so far."""
        return self.core_seconds / SECONDS_PER_HOUR

    def _title(self) -> str:
        return f"Session on {self.group}, {self.state}"

    def _facts(self) -> Facts:
        return [
            ("size", f"{self.size} ({self.milli_cores / 1000:g} cores)"),
            ("environment", self.environment),
            ("started", _moment(self.started_at)),
            ("ended", _moment(self.ended_at) + (" (estimate)" if self.end_is_estimate else "")),
            ("core-hours", f"{self.core_hours:.3f}"),
            ("will stop", _moment(self.stop_due_at)),
            ("because", self.stop_due_reason or ""),
        ]


class Balance(Card, usage.GroupBalance):
    """What a group has used and has left."""

    @property
    def used_core_hours(self) -> float:
        """Core-hours used in the period of the allocation in force."""
        return core_hours(self.used)

    @property
    def allocated_core_hours(self) -> float | None:
        """Core-hours allocated; ``None`` where no allocation is in force."""
        return None if self.allocated is None else core_hours(self.allocated)

    @property
    def left_core_hours(self) -> float | None:
        """Core-hours left; ``None`` where no allocation is in force."""
        return None if self.left is None else core_hours(self.left)

    def _title(self) -> str:
        return f"Computing time of {self.title or self.group} ({self.group})"

    def _facts(self) -> Facts:
        left, allocated = self.left_core_hours, self.allocated_core_hours
        return [
            ("used", f"{self.used_core_hours:.2f} core-hours"),
            ("left", "no limit" if left is None else f"{left:.2f} of {allocated:.2f} core-hours"),
            ("resets", _moment(self.resets_at)),
            ("at this rate spent", _moment(self.projected_exhaustion_at)),
            ("ask", ", ".join(self.contacts)),
            ("note", self.message),
        ]
