"""Gives notices, once each, in the transaction that does what they tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dachub.infra.clock import Clock
from dachub.model.notices import Notice, NoticeKind, Severity
from dachub.notices.store.notices import NoticeStore

UNREAD_MAX = 100


class NoticeService:
    """Gives notices and shows a person theirs."""

    def __init__(self, store: NoticeStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def give(
        self,
        usernames: Collection[str],
        *,
        key: str,
        kind: NoticeKind,
        severity: Severity,
        title: str,
        text: str,
        group: str | None = None,
        path: str = "",
    ) -> Sequence[str]:
        """Tell people something, each of them once; stands if and only if the transaction does.

        Parameters
        ----------
        key
            What it is about, at most 300 characters: a person who was given a notice of this key
            gets no second one.
        title, text
            In plain words: what happened, why, what to do.
        path
            Page of the portal that says more, below its base.

        Returns
        -------
        sequence of str
            Who had not been told yet.
        """
        return await self._store.add(
            usernames,
            key=key,
            kind=kind,
            severity=severity,
            title=title,
            text=text,
            group=group,
            path=path,
            at=self._clock.now(),
        )

    async def unread(self, username: str) -> Sequence[Notice]:
        """What a person has not read yet, newest first; asks nobody's rights."""
        return await self._store.unread(username, UNREAD_MAX)
