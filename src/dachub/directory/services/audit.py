"""The audit log: who changed what, when, within which request."""

from __future__ import annotations

from datetime import datetime

from dachub.directory.models import Principal
from dachub.directory.services.text import clean
from dachub.directory.store.audit import AuditStore
from dachub.infra.clock import Clock
from dachub.infra.logging import request_id
from dachub.model.people import AuditEntry, Role

ENTRIES_MAX = 1000
ENTRIES_DEFAULT = 100


class AuditService:
    """Records what was done in the transaction that does it, and shows it."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._refusals: list[dict[str, object]] = []

    async def record(
        self,
        by: Principal,
        action: str,
        *,
        username: str | None = None,
        group: str | None = None,
        **details: object,
    ) -> None:
        """Append an entry; it stands if and only if the transaction does."""
        await self._store.append([self._entry(by.name, action, username, group, details)])

    def note_refusal(
        self,
        by: Principal,
        action: str,
        *,
        username: str | None = None,
        group: str | None = None,
        **details: object,
    ) -> None:
        """Note what is being refused by an error: kept although the transaction is rolled back."""
        self._refusals.append(self._entry(by.name, action, username, group, details))

    def take_refusals(self) -> list[dict[str, object]]:
        """The refusals noted so far, for a transaction of their own."""
        taken, self._refusals = self._refusals, []
        return taken

    async def keep_refusals(self, refusals: list[dict[str, object]]) -> None:
        """Append refusals that another transaction noted before it was rolled back."""
        if refusals:
            await self._store.append(refusals)

    async def count(self, username: str, action: str, since: datetime) -> int:
        """How often something happened to a person after a moment; asks nobody's rights."""
        return await self._store.count(username, action, since)

    async def since(self, moment: datetime) -> list[AuditEntry]:
        """Entries from a moment on, oldest first; asks nobody's rights."""
        return await self._store.since(moment)

    async def list(
        self,
        by: Principal,
        *,
        username: str | None = None,
        group: str | None = None,
        action: str | None = None,
        before: int | None = None,
        limit: int = ENTRIES_DEFAULT,
    ) -> list[AuditEntry]:
        """Entries, newest first; ``before`` an ``audit_id`` continues a page.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers, or asks for a group they are manager or PI of.
        """
        if group is None:
            by.require_administrator()
        else:
            by.require(group, Role.MANAGER)
        return await self._store.list(
            username=None if username is None else clean(username, 200),
            group=None if group is None else clean(group, 200),
            action=None if action is None else clean(action, 63),
            before=before,
            limit=max(1, min(limit, ENTRIES_MAX)),
        )

    def _entry(
        self,
        actor: str,
        action: str,
        username: str | None,
        group: str | None,
        details: dict[str, object],
    ) -> dict[str, object]:
        return {
            "at": self._clock.now(),
            "actor": actor,
            "action": action,
            "username": None if username is None else clean(username, 200),
            "group": None if group is None else clean(group, 200),
            "details": {
                key: clean(value, 1000) if isinstance(value, str) else value
                for key, value in details.items()
            },
            "request_id": request_id.get(),
        }
