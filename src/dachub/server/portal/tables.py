"""Tables that are sorted by a click on a column's head: a link, which needs no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Query

AskedSort = Annotated[str, Query(alias="sort", max_length=20)]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which column a table is sorted, and whether the largest comes first."""

    key: str
    descending: bool

    @property
    def text(self) -> str:
        """As it stands in an address."""
        return f"{'-' if self.descending else ''}{self.key}"

    def other_way(self, key: str, *, descending_first: bool) -> str:
        """What a click on the head of the column ``key`` asks for."""
        turned = not self.descending if key == self.key else descending_first
        return Sorting(key, turned).text


def sorted_rows(
    rows: Iterable[Row], asked: str, by: Mapping[str, Callable[[Row], Any]], default: str
) -> tuple[list[Row], Sorting]:
    """Rows in the order that an address asks for; in the default one if it asks for nonsense.

    Parameters
    ----------
    asked, default
        Key of a column; with a minus before it the largest comes first.
    by
        What each column is sorted by.
    """
    if asked.removeprefix("-") not in by:
        asked = default
    sorting = Sorting(asked.removeprefix("-"), asked.startswith("-"))
    return sorted(rows, key=by[sorting.key], reverse=sorting.descending), sorting


def address(query: Mapping[str, object], **changes: object) -> str:
    """The page's own address with some of its parameters changed; empty ones are left out."""
    wanted = {key: value for key, value in {**query, **changes}.items() if value not in (None, "")}
    return f"?{urlencode(wanted)}"
