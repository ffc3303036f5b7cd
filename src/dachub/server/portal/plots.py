"""Plots as Bokeh documents in JSON; the page's table says the same in text."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import cycle
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

from dachub.model.storage import StorageSample
from dachub.model.units import BYTES_PER_GB, midnight
from dachub.model.units import core_hours as in_core_hours
from dachub.server.portal.periods import Period
from dachub.server.portal.stacks import Stack

Theme = Literal["light", "dark"]
Plot = dict[str, Any]

# Ink, lines and bars that reach a contrast of 3:1 (text 4.5:1) on the hub's two backgrounds.
COLOURS = {
    "light": {"ink": "#212529", "grid": "#dee2e6", "bar": "#2c7bb6"},
    "dark": {"ink": "#dee2e6", "grid": "#495057", "bar": "#6aaedb"},
}
# Told apart with any colour vision, next to each other too; the last is for "others".
LAYERS = {
    "light": (
        "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7b6fc4", "#8a9097",
    ),
    "dark": (
        "#4ba3d9", "#f0b93a", "#2dbd92", "#dd9bc0", "#93cff2", "#ee8450", "#a9a0e3", "#8a9097",
    ),
}  # fmt: skip
DAY_MILLISECONDS = 86_400_000
DAYS_HEIGHT = 260
DAY_TICKS = 4  # as many as have room on a telephone
GB_AXIS_MIN = 0.1  # below it all numbers of the axis would read 0


def hours_stacked(stack: Stack, theme: Theme) -> Plot:
    """Bars of core-hours by day (or month), a colour for each layer; the page has the legend."""
    source: dict[str, list[Any]] = {
        key: [] for key in ("day", "width", "bottom", "top", "hours", "colour", "name", "who")
    }
    colours = LAYERS[theme] if len(stack.layers) > 1 else (COLOURS[theme]["bar"],)
    tops = [0.0] * len(stack.days)
    for colour, layer in zip(cycle(colours), stack.layers, strict=False):
        for i, (day, amount) in enumerate(zip(stack.days, layer.amounts, strict=True)):
            if not amount:
                continue
            width = _days_of_month(day) if stack.monthly else 1
            hours = in_core_hours(amount)
            source["day"].append(midnight(day) + timedelta(days=(width - 1) / 2))
            source["width"].append(0.8 * width * DAY_MILLISECONDS)
            source["bottom"].append(tops[i])
            tops[i] += hours
            source["top"].append(tops[i])
            source["hours"].append(hours)
            source["colour"].append(colour)
            source["name"].append(stack.name(day))
            source["who"].append(layer.label)
    plot = _figure(
        theme, height=DAYS_HEIGHT, x_axis_type="datetime",
        x_range=(
            midnight(stack.days[0]) - timedelta(days=1),
            midnight(stack.days[-1])
            + timedelta(days=_days_of_month(stack.days[-1]) if stack.monthly else 1),
        ),
    )  # fmt: skip
    plot.vbar(
        x="day", width="width", bottom="bottom", top="top", color="colour", line_color=None,
        source=ColumnDataSource(source),
    )  # fmt: skip
    tooltips = [(stack.unit.title(), "@name"), ("Core-hours", "@hours{0,0.000}")]
    if len(stack.layers) > 1:
        tooltips.insert(1, ("Of", "@who"))
    plot.add_tools(HoverTool(tooltips=tooltips))
    plot.yaxis.axis_label = "core-hours"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.y_range.start = 0
    plot.xgrid.visible = False
    if not any(tops):
        plot.y_range.end = 1
    return _json(plot)


def bytes_over_time(samples: Sequence[StorageSample], period: Period, theme: Theme) -> Plot:
    """What a place held on disk, in GB: a point a day, the days between joined."""
    source: dict[str, list[Any]] = {
        "at": [sample.sampled_at for sample in samples],
        "gb": [sample.allocated_bytes / BYTES_PER_GB for sample in samples],
        "files": [sample.files for sample in samples],
        "name": [f"{sample.sampled_at:%Y-%m-%d %H:%M}" for sample in samples],
    }
    end = samples[-1].sampled_at if samples else period.since
    plot = _figure(
        theme, height=DAYS_HEIGHT, x_axis_type="datetime",
        x_range=(period.since, max(end, period.since + timedelta(days=1))),
    )  # fmt: skip
    data = ColumnDataSource(source)
    plot.line(x="at", y="gb", source=data, color=COLOURS[theme]["bar"], line_width=2)
    points = plot.scatter(x="at", y="gb", source=data, color=COLOURS[theme]["bar"], size=5)
    plot.add_tools(
        HoverTool(
            renderers=[points],
            tooltips=[("At", "@name UTC"), ("GB", "@gb{0,0.00}"), ("Files", "@files{0,0}")],
        )
    )
    plot.yaxis.axis_label = "GB on disk"
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    plot.y_range.start = 0
    plot.xgrid.visible = False
    if max(source["gb"], default=0) < GB_AXIS_MIN:
        plot.y_range.end = GB_AXIS_MIN
    return _json(plot)


def _days_of_month(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _figure(theme: Theme, **options: Any) -> Any:
    colours = COLOURS[theme]
    plot = figure(
        sizing_mode="stretch_width", toolbar_location=None, tools="",
        background_fill_color=None, border_fill_color=None, outline_line_color=None, **options,
    )  # fmt: skip
    plot.xaxis.ticker.desired_num_ticks = DAY_TICKS
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


def layer_colours(layers: int) -> list[tuple[str, str]]:
    """Light and dark colour of each layer of :func:`hours_stacked`."""
    if layers <= 1:
        return [(COLOURS["light"]["bar"], COLOURS["dark"]["bar"])]
    return list(zip(LAYERS["light"], LAYERS["dark"], strict=True))
