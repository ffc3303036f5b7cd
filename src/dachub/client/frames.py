"""Records as a table: a DataFrame where pandas is installed, else a list that shows as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from typing import Any


class Table(list[dict[str, Any]]):
    """Rows, for environments without pandas.

    Attributes
    ----------
    columns
        Names of the columns, in order.
    attrs
        What holds for the whole table, as with a DataFrame.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], attrs: Mapping[str, Any]
    ) -> None:
        super().__init__({name: row[name] for name in columns} for row in rows)
        self.columns = list(columns)
        self.attrs = dict(attrs)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(str(row[name]))}</td>' for name in self.columns)}</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    times: Sequence[str] = (),
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """``rows`` as a table; integers stay integers, the columns named in ``times`` become times.

    Returns
    -------
    pandas.DataFrame or Table
    """
    attrs = attrs or {}
    if find_spec("pandas") is None:
        return Table(rows, columns, attrs)
    import pandas as pd  # type: ignore[import-untyped, unused-ignore]

    frame = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=list(columns))
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    frame.attrs.update(attrs)
    return frame
