"""Plots as Bokeh documents in JSON; the page's table says the same in text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

Theme = Literal["light", "dark"]
Plot = dict[str, Any]

# Ink, lines and bars that reach a contrast of 3:1 (text 4.5:1) on the hub's two backgrounds.
COLOURS = {
    "light": {"ink": "#212529", "grid": "#dee2e6", "bar": "#2c7bb6"},
    "dark": {"ink": "#dee2e6", "grid": "#495057", "bar": "#6aaedb"},
}
DAY_MILLISECONDS = 86_400_000
MOST_NAMES = 15
DAYS_HEIGHT = 260


def hours_by_day(days: Sequence[date], core_hours: Sequence[float], theme: Theme) -> Plot:
    """Bars of core-hours, one a day.

    Parameters
    ----------
    days
        Every day of the period, also those without use.
    core_hours
        Core-hours of each.
    """
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    source = ColumnDataSource(
        {"day": midnights, "name": [day.isoformat() for day in days], "hours": list(core_hours)}
    )
    plot = _figure(theme, height=DAYS_HEIGHT, x_axis_type="datetime")
    plot.vbar(
        x="day", top="hours", width=0.8 * DAY_MILLISECONDS, source=source,
        color=COLOURS[theme]["bar"],
    )  # fmt: skip
    plot.add_tools(HoverTool(tooltips=[("Day", "@name"), ("Core-hours", "@hours{0,0.000}")]))
    plot.yaxis.axis_label = "core-hours"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.y_range.start = 0
    plot.xgrid.visible = False
    if not any(core_hours):
        plot.y_range.end = 1
    return _json(plot)


def hours_by_name(core_hours: Mapping[str, float], theme: Theme) -> Plot:
    """Horizontal bars of core-hours, most first; beyond fifteen names the rest share one bar."""
    named = sorted(core_hours.items(), key=lambda pair: -pair[1])
    if len(named) > MOST_NAMES:
        rest = named[MOST_NAMES - 1 :]
        named = [*named[: MOST_NAMES - 1], (f"{len(rest)} others", sum(h for _, h in rest))]
    labels = [name for name, _ in named]
    source = ColumnDataSource({"name": labels, "hours": [value for _, value in named]})
    plot = _figure(theme, height=names_height(len(labels)), y_range=labels[::-1])
    plot.hbar(y="name", right="hours", height=0.7, source=source, color=COLOURS[theme]["bar"])
    plot.add_tools(HoverTool(tooltips=[("Name", "@name"), ("Core-hours", "@hours{0,0.000}")]))
    plot.xaxis.axis_label = "core-hours"
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.x_range.start = 0
    plot.ygrid.visible = False
    return _json(plot)


def names_height(names: int) -> int:
    """Height of :func:`hours_by_name` in pixels."""
    return 70 + 26 * max(1, min(names, MOST_NAMES))


def _figure(theme: Theme, **options: Any) -> Any:
    colours = COLOURS[theme]
    plot = figure(
        sizing_mode="stretch_width", toolbar_location=None, tools="",
        background_fill_color=None, border_fill_color=None, outline_line_color=None, **options,
    )  # fmt: skip
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = colours["ink"]
        axis.axis_line_color = axis.major_tick_line_color = colours["ink"]
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
    plot.grid.grid_line_color = colours["grid"]
    return plot


def _json(plot: Any) -> Plot:
    item: Plot = json_item(plot)
    return item
