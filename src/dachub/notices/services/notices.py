"""Gives notices, once each, in the transaction that does what they tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.services.text import clean, clean_lines
from dachub.infra.clock import Clock
from dachub.model.notices import (
    ALWAYS_IN_PORTAL,
    Notice,
    NoticeCount,
    NoticeKind,
    NoticeList,
    NoticePreference,
    Severity,
)
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.notices.store.notices import NoticeStore

LIST_MAX = 200
PRESSING_MAX = 5
TITLE_MAX_CHARACTERS = 200
TEXT_MAX_CHARACTERS = 4000


class NoticeService:
    """Gives notices, shows people theirs, and keeps how they want them.

    Parameters
    ----------
    mails
        Whether the site sends mails; what was given while it did not is never mailed.
    """

    def __init__(self, store: NoticeStore, clock: Clock, *, mails: bool) -> None:
        self._store = store
        self._clock = clock
        self._mails = mails

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
            In plain words: what happened, why, what to do. The title is one line without a full
            stop; it is the mail's subject.
        path
            Page of the portal that says more, below its base.

        Returns
        -------
        sequence of str
            Who had not been told yet.
        """
        chosen = await self._store.preferences(usernames, kind)
        default = NoticePreference(kind=kind)
        return await self._store.add(
            [(username, chosen.get((username, kind), default)) for username in sorted(usernames)],
            key=key,
            severity=severity,
            title=clean(title, TITLE_MAX_CHARACTERS),
            text=clean_lines(text, TEXT_MAX_CHARACTERS),
            group=group,
            path=path,
            at=self._clock.now(),
            mails=self._mails,
        )

    async def list(
        self,
        by: Principal,
        *,
        unread: bool | None = None,
        after: int = 0,
        before: int | None = None,
        since: datetime | None = None,
        limit: int = LIST_MAX,
    ) -> NoticeList:
        """The caller's own notices, newest first, at most 200, and how many are unread.

        Parameters
        ----------
        unread
            Only those not read yet, or only those read; ``None`` for all.
        after, before
            Ids: only newer, only older ones.
        since
            Only those given from this moment on.

        Raises
        ------
        PermissionDenied
            If ``by`` is no person.
        """
        count = await self.count(by)
        notices = await self._store.list(
            by.name,
            unread=unread,
            after=after,
            before=before,
            since=since,
            limit=max(1, min(limit, LIST_MAX)),
        )
        return NoticeList(unread=count.unread, last_id=count.last_id, notices=notices)

    async def count(self, by: Principal) -> NoticeCount:
        """How many of the caller's notices are unread, and the newest one's id; cheap.

        Raises
        ------
        PermissionDenied
            If ``by`` is no person.
        """
        _require_person(by)
        return await self._store.count(by.name)

    async def unread(self, username: str) -> Sequence[Notice]:
        """What a person has not read yet, newest first; asks nobody's rights."""
        return await self._store.list(username, unread=True, limit=LIST_MAX)

    async def pressing(self, username: str) -> Sequence[Notice]:
        """What a person should know before they start a server, newest first; asks no rights."""
        return await self._store.list(
            username,
            unread=True,
            severities=(Severity.URGENT, Severity.WARNING),
            limit=PRESSING_MAX,
        )

    async def mark_read(self, by: Principal, notice_id: int) -> None:
        """Note that the caller has read a notice.

        Raises
        ------
        PermissionDenied
        NotFound
            If they have no such notice.
        """
        _require_person(by)
        if not await self._store.mark_read(by.name, notice_id, self._clock.now()):
            raise NotFound(f"You have no notice {notice_id}.")

    async def mark_all_read(self, by: Principal, up_to: int) -> None:
        """Note that the caller has read everything up to the notice ``up_to``.

        Raises
        ------
        PermissionDenied
        """
        _require_person(by)
        await self._store.mark_all_read(by.name, up_to, self._clock.now())

    async def preferences(self, by: Principal) -> Sequence[NoticePreference]:
        """How the caller gets notices, kind by kind.

        Raises
        ------
        PermissionDenied
        """
        _require_person(by)
        chosen = await self._store.preferences([by.name])
        return [chosen.get((by.name, kind), NoticePreference(kind=kind)) for kind in NoticeKind]

    async def prefer(self, by: Principal, wish: NoticePreference) -> NoticePreference:
        """Choose how the caller gets notices of a kind from now on.

        Raises
        ------
        PermissionDenied
            If it is not the person themselves: what runs in a server silences nothing.
        InvalidInput
            If notices of a stop were to be kept out of the portal.
        """
        _require_person(by)
        if by.kind is PrincipalKind.SERVER:
            raise PermissionDenied("A server's own token cannot choose; use the portal.")
        if wish.kind in ALWAYS_IN_PORTAL and not wish.portal:
            raise InvalidInput(
                "That a server will be stopped is always told in the portal: unsaved work is at "
                "stake. You can do without the e-mail."
            )
        await self._store.prefer(by.name, wish)
        return wish


def _require_person(by: Principal) -> None:
    if by.kind not in (PrincipalKind.PERSON, PrincipalKind.SERVER):
        raise PermissionDenied("Notices are for people.")
