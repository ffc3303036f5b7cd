"""The report as one HTML page that needs nothing else, and prints on A4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dachub.infra.templates import templates_of
from dachub.model.reports import FunderReport, ReportRow
from dachub.model.units import SECONDS_PER_HOUR, core_hours, last_day, share, spoken_bytes
from dachub.model.usage import Usage
from dachub.reports.services import charts

MOST_ROWS = 20
MOST_BARS = 10


def hours(milli_core_seconds: float) -> str:
    """Core-hours with one decimal."""
    return f"{core_hours(int(milli_core_seconds)):,.1f}"


def gpu_hours(gpu_seconds: int) -> str:
    """GPU-hours with one decimal."""
    return f"{gpu_seconds / SECONDS_PER_HOUR:,.1f}"


def change(now: int, before: int) -> str:
    """How much more or less than before, in words."""
    if not before:
        return "nothing before to compare with"
    percent = 100 * (now - before) / before
    return f"{abs(percent):.1f} % {'more' if percent >= 0 else 'less'} than the period before"


def shortened(rows: Sequence[ReportRow], most: int = MOST_ROWS) -> list[ReportRow]:
    """The first rows, and one for all others, so that a table still adds up."""
    if len(rows) <= most:
        return list(rows)
    rest = rows[most - 1 :]
    others = ReportRow(name=f"{len(rest)} others")
    for row in rest:
        for amount in Usage.model_fields:
            setattr(others, amount, getattr(others, amount) + getattr(row, amount))
    return [*rows[: most - 1], others]


def _bars(rows: Sequence[ReportRow]) -> list[charts.Bar]:
    return [
        (row.title or row.name, core_hours(row.milli_core_seconds), hours(row.milli_core_seconds))
        for row in shortened(rows, MOST_BARS)
    ]


_templates = templates_of("dachub.reports")
_templates.filters.update(
    hours=hours,
    gpu_hours=gpu_hours,
    size=partial(spoken_bytes, aligned=True),
    last_day=last_day,
    shortened=shortened,
    bars=_bars,
)
_templates.globals.update(
    share=share, change=change, columns=charts.columns, rows_chart=charts.rows
)


def render(report: FunderReport) -> str:
    """The page; it holds no script, and loads nothing."""
    return _templates.get_template("funder.html").render(
        report=report,
        trend=[
            (one.title, core_hours(one.milli_core_seconds), hours(one.milli_core_seconds))
            for one in report.trend
        ],
        stored=[
            (f"{one.day:%d %b}", float(one.allocated_bytes), spoken_bytes(one.allocated_bytes))
            for one in report.storage_days
        ],
    )
