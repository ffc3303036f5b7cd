"""Results as a table for the terminal and for ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes
    ----------
    dachub, plain
        The figure with dachub, and of the peer measured in the same run where there is one.
    goal
        What is aimed at, in words.
    """

    benchmark: str
    what: str
    unit: str
    dachub: float
    plain: float | None = None
    goal: str = ""


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that ``percent`` of ``values`` do not exceed."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def markdown(rows: Sequence[Row]) -> str:
    """``rows`` as a Markdown table, with the machine it was measured on."""
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}.",
        "",
        "| benchmark | what | dachub | without | difference | unit | goal |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        plain = "" if row.plain is None else f"{row.plain:.4g}"
        difference = f"{row.dachub / row.plain - 1:+.1%}" if row.plain else ""
        lines.append(
            f"| {row.benchmark} | {row.what} | {row.dachub:.4g} | {plain} | {difference} "
            f"| {row.unit} | {row.goal} |"
        )
    return "\n".join(lines)
