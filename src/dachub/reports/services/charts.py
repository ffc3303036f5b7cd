"""Bars as SVG inside the page: they print without scripts, and are read out as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH = 680
HEIGHT = 190
ROW = 22
NAMES = 190
FIGURES = 110
MARGIN = 26

Bar = tuple[str, float, str]
"""What it stands for, its value, and the value in words."""


def columns(title: str, bars: Sequence[Bar]) -> Markup:
    """Upright bars in their order, each with its value above and its name below."""
    top = _scale(bars)
    step = WIDTH / max(1, len(bars))
    thickness = min(60.0, step * 0.7)
    parts = [_line(0, HEIGHT - MARGIN, WIDTH, HEIGHT - MARGIN)]
    for index, (name, value, figure) in enumerate(bars):
        middle = step * (index + 0.5)
        height = (HEIGHT - 2 * MARGIN) * value / top
        y = HEIGHT - MARGIN - height
        parts.append(_bar(middle - thickness / 2, y, thickness, height))
        parts.append(_text(middle, y - 5, figure, "middle"))
        parts.append(_text(middle, HEIGHT - MARGIN + 16, name, "middle"))
    return _svg(title, HEIGHT, parts, bars)


def rows(title: str, bars: Sequence[Bar]) -> Markup:
    """Lying bars, one below the other."""
    top = _scale(bars)
    room = WIDTH - NAMES - FIGURES
    parts: list[Markup] = []
    for index, (name, value, figure) in enumerate(bars):
        y = index * ROW
        length = room * value / top
        parts.append(_text(NAMES - 8, y + 15, _short(name), "end"))
        parts.append(_bar(NAMES, y + 3, length, ROW - 6))
        parts.append(_text(NAMES + length + 6, y + 15, figure, "start"))
    return _svg(title, ROW * len(bars), parts, bars)


def _scale(bars: Sequence[Bar]) -> float:
    top = max((value for _, value, _ in bars), default=0.0)
    return top if top > 0 and math.isfinite(top) else 1.0


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(title: str, height: int, parts: Sequence[Markup], bars: Sequence[Bar]) -> Markup:
    told = "; ".join(f"{name}: {figure}" for name, _, figure in bars)
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, max(height, ROW), f"{title}. {told}", title, Markup("").join(parts))


def _bar(x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        x, y, max(width, 0.0), max(height, 0.0)
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(text)
    )
