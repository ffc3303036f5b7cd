"""What a table holds of people: stated beside its columns, so that no table can be forgotten.

Every table's class has an attribute ``personal``. What is exported to a person, put under their
pseudonym or deleted follows from it alone (:mod:`dachub.privacy`); the tests fail for a table that
states nothing, and for a column of text that the statement leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Term = Literal["sessions", "audit", "notices", "memberships", "affiliations", "sent"]
"""What is kept with names for how long: the settings ``privacy.<term>_days``."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What a table holds of people, by the names of its columns.

    Attributes
    ----------
    person
        The username of whom a row is about.
    only_where
        (column, value): only rows with it are about a person; others' ``person`` is no username.
    through
        (column, table): the row there that has the same value tells whom a row is about.
    others
        Usernames of those who wrote or decided.
    details
        More about the person of the row: emptied when they are forgotten.
    texts, documents
        Written text, and JSON: where they mention the person, the pseudonym takes the place.
    secrets
        Never exported.
    plain
        Text that tells nothing of a person.
    sent_as
        The format in which something of a row was sent to others, who cannot be made to forget it.
    goes
        Rows go with the person and after their term; else they stay, under the pseudonym.
    sums
        Amounts that are added where the pseudonym makes two rows one.
    term, since
        How long names are kept, from which moment on; as long as the person where not given.
    """

    person: str | None = None
    only_where: tuple[str, str] | None = None
    through: tuple[str, str] | None = None
    others: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    sent_as: str | None = None
    goes: bool = False
    sums: tuple[str, ...] = ()
    term: Term | None = None
    since: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that hold usernames."""
        return (*((self.person,) if self.person else ()), *self.others)

    @property
    def stated(self) -> frozenset[str]:
        """Every column that the statement speaks of."""
        through = self.through[:1] if self.through else ()
        return frozenset(
            self.names + through + self.details + self.texts + self.documents
            + self.secrets + self.plain
        )  # fmt: skip


NOBODY = Personal()
"""For a table without any text."""
