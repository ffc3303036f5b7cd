"""SQL of pseudonyms and of the names that were forgotten."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.tables import (
    AffiliationRow,
    ForgottenNameRow,
    NameKeyRow,
    PersonRow,
    PseudonymRow,
)

PSEUDONYM_ISSUER = "pseudonym"
"""Issuer of those who are no longer a person but a pseudonym; nobody signs in there."""


class PseudonymStore:
    """Reads and writes pseudonyms."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, usernames: Collection[str]) -> dict[str, str]:
        """Username -> pseudonym, of those who have one."""
        rows = await self._session.execute(
            select(PseudonymRow.username, PseudonymRow.pseudonym).where(
                PseudonymRow.username.in_(usernames)
            )
        )
        return dict(rows.all())

    async def give(self, pseudonyms: Mapping[str, str]) -> dict[str, str]:
        """Keep pseudonyms for people who have none; returns those that stand."""
        await self._session.execute(
            insert(PseudonymRow)
            .values([
                {"username": username, "pseudonym": pseudonym}
                for username, pseudonym in pseudonyms.items()
            ])
            .on_conflict_do_nothing(index_elements=["username"])
        )  # fmt: skip
        return await self.of(pseudonyms)

    async def register(self, pseudonyms: Collection[str], at: datetime) -> set[str]:
        """Let pseudonyms stand where only people may; returns those that did not yet."""
        added = await self._session.scalars(
            insert(PersonRow)
            .values(
                [
                    {
                        "username": pseudonym,
                        "issuer": PSEUDONYM_ISSUER,
                        "subject": pseudonym,
                        "full_name": "",
                        "email": "",
                        "is_administrator": False,
                        "created_at": at,
                        "disabled_at": at,
                        "disabled_reason": "a pseudonym",
                        "disable_enforced_at": at,
                    }
                    for pseudonym in pseudonyms
                ]
            )
            .on_conflict_do_nothing()
            .returning(PersonRow.username)
        )
        return set(added)

    async def affiliate(self, institutions: Mapping[str, str], at: datetime) -> None:
        """Count the usage of pseudonyms under institutions."""
        if not institutions:
            return
        await self._session.execute(
            insert(AffiliationRow).values(
                [
                    {
                        "username": pseudonym,
                        "value": institution,
                        "asserted_by": PSEUDONYM_ISSUER,
                        "first_asserted_at": at,
                        "last_asserted_at": at,
                    }
                    for pseudonym, institution in institutions.items()
                ]
            )
        )

    async def bury(self, username: str, pseudonym: str, at: datetime) -> None:
        """Keep a name from ever being given out again."""
        await self._session.execute(
            insert(ForgottenNameRow)
            .values(digest=_digest(await self._key(), username), pseudonym=pseudonym,
                    forgotten_at=at)
            .on_conflict_do_nothing(index_elements=["digest"])
        )  # fmt: skip

    async def links(self, usernames: Collection[str]) -> dict[str, str | None]:
        """Those of the names that were forgotten -> their pseudonym, while the link is kept."""
        if not usernames:
            return {}
        key = await self._key()
        names = {_digest(key, username): username for username in usernames}
        rows = await self._session.execute(
            select(ForgottenNameRow.digest, ForgottenNameRow.pseudonym).where(
                ForgottenNameRow.digest.in_(names)
            )
        )
        return {names[digest]: pseudonym for digest, pseudonym in rows}

    async def has_links(self) -> bool:
        """Whether any forgotten name still leads to its pseudonym."""
        linked = select(ForgottenNameRow.digest).where(ForgottenNameRow.pseudonym.is_not(None))
        return await self._session.scalar(linked.limit(1)) is not None

    async def cut_links(self, before: datetime) -> int:
        """Cut the links of names that were forgotten before a moment; returns how many."""
        cut = await self._session.scalars(
            update(ForgottenNameRow)
            .where(ForgottenNameRow.forgotten_at < before)
            .values(pseudonym=None, forgotten_at=None)
            .returning(ForgottenNameRow.digest)
        )
        return len(cut.all())

    async def _key(self) -> bytes:
        key = await self._session.scalar(select(NameKeyRow.key))
        if key is None:
            await self._session.execute(
                insert(NameKeyRow)
                .values(singleton=True, key=secrets.token_hex(32))
                .on_conflict_do_nothing()
            )
            key = await self._session.scalar(select(NameKeyRow.key))
        return bytes.fromhex(str(key))


def _digest(key: bytes, username: str) -> str:
    return hmac.digest(key, username.encode(), hashlib.sha256).hex()
