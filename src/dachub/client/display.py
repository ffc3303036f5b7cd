"""How records look in a notebook: a small card, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Facts = Sequence[tuple[str, str]]


def html_card(title: str, facts: Facts) -> str:
    """``facts`` as a table under ``title``, as HTML; empty facts are left out."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in facts
        if value
    )
    return f'<table><caption style="text-align:left"><b>{escape(title)}</b></caption>{rows}</table>'


def text_card(title: str, facts: Facts) -> str:
    """``facts`` under ``title``, as plain text."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in shown)])


class Card:
    """Mixin: shows a record by its title and its facts."""

    def _title(self) -> str:
        raise NotImplementedError

    def _facts(self) -> Facts:
        raise NotImplementedError

    def __repr__(self) -> str:
        return text_card(self._title(), self._facts())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_card(self._title(), self._facts())
