"""Open XDMoD's tables of names and of the hierarchy: CSV without headers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from dachub.model.people import Person
from dachub.reports.formats.text import xdmod_name
from dachub.reports.models import InvalidRecord


def csv_text(rows: Sequence[Sequence[str]], columns: int) -> bytes:
    """``rows`` as CSV, read again before it is given out.

    Raises
    ------
    InvalidRecord
        If a row has another number of columns, no name, a name twice, or does not survive.
    """
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    read = list(csv.reader(io.StringIO(text, newline="")))
    if read != [list(row) for row in rows]:
        raise InvalidRecord("A table does not survive being written as CSV.")
    names = [row[0] for row in read if row]
    for row in read:
        if len(row) != columns or not row[0].strip():
            raise InvalidRecord(f"A row has {len(row)} columns instead of {columns}, or no name.")
        if any(not field.isprintable() for field in row):
            raise InvalidRecord(f"The row of '{row[0][:40]}' has control characters.")
    if len(set(names)) != len(names):
        raise InvalidRecord("A name stands twice in a table.")
    return text.encode()


def printable(text: str) -> str:
    """``text`` on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def name_row(person: Person) -> tuple[str, str, str]:
    """Name as in the jobs, first name, last name."""
    first, _, last = printable(person.full_name).rpartition(" ")
    return xdmod_name(person.username), first, last or person.username
