"""Usage by day and name, as plots stack it and tables list it: most first, the rest together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from dachub.model.usage import Usage, UsageReport, UsageRow
from dachub.server.portal.periods import Period

MOST_LAYERS = 8
MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Layer:
    """One name's usage, a value for each of the stack's days, in milli-core-seconds."""

    label: str
    amounts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Over the whole period."""
        return sum(self.amounts)


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers upon each other; each column is a day, or a month where there are too many days.

    Attributes
    ----------
    days
        The first day of each column.
    """

    days: tuple[date, ...]
    monthly: bool
    layers: tuple[Layer, ...]

    @property
    def unit(self) -> str:
        """What a column is."""
        return "month" if self.monthly else "day"

    def name(self, day: date) -> str:
        """The column that begins with ``day``, for people."""
        return f"{day:%Y-%m}" if self.monthly else day.isoformat()

    def rows(self) -> list[tuple[str, int, list[int]]]:
        """Name, total and amounts of each column with use, the latest first."""
        columns = [[layer.amounts[i] for layer in self.layers] for i in range(len(self.days))]
        return [
            (self.name(day), sum(amounts), amounts)
            for day, amounts in zip(reversed(self.days), reversed(columns), strict=True)
            if any(amounts)
        ]


def column_of(period: Period, now: datetime, most_days: int = MOST_DAYS) -> Literal["day", "month"]:
    """What a column of a stack over ``period`` shall be, and so the report's first dimension."""
    return "month" if len(period.days(now)) > most_days else "day"


def stack(
    report: UsageReport,
    period: Period,
    name: Callable[[UsageRow], str],
    *,
    most: int = MOST_LAYERS,
) -> Stack:
    """Stack a report by day or month, and something else.

    Parameters
    ----------
    name
        Which layer a row belongs to.
    most
        How many layers at most; those with the least use share the last.
    """
    days = period.days(report.counted_to) or [period.first]
    monthly = "month" in report.by
    columns = sorted({day.replace(day=1) for day in days}) if monthly else days
    place = {day: i for i, day in enumerate(columns)}
    amounts: dict[str, list[int]] = defaultdict(lambda: [0] * len(columns))
    for row in report.rows:
        column = row.month if monthly else row.day
        if column is not None:
            amounts[name(row)][place[column]] += row.milli_core_seconds
    layers = [Layer(label, tuple(values)) for label, values in amounts.items()]
    layers.sort(key=lambda layer: (-layer.total, layer.label))
    return Stack(tuple(columns), monthly, tuple(_gathered(layers, most)))


def _gathered(layers: Sequence[Layer], most: int) -> list[Layer]:
    if len(layers) <= most:
        return list(layers)
    rest = layers[most - 1 :]
    together = tuple(map(sum, zip(*(layer.amounts for layer in rest), strict=True)))
    return [*layers[: most - 1], Layer(f"{len(rest)} others", together)]


@dataclass(frozen=True, slots=True)
class Share:
    """What one name used of the whole, and where its page is."""

    name: str
    usage: Usage
    href: str = ""


SHARE_COLUMNS: Mapping[str, Callable[[Share], Any]] = {
    "name": lambda share: share.name.casefold(),
    "used": lambda share: share.usage.milli_core_seconds,
}


def shares(
    report: UsageReport,
    name: Callable[[UsageRow], str],
    href: Callable[[UsageRow], str] = lambda _: "",
) -> list[Share]:
    """Sum a report by name, whatever else it is by."""
    found: dict[str, Share] = {}
    for row in report.rows:
        known = found.setdefault(name(row), Share(name(row), Usage(), href(row)))
        known.usage.milli_core_seconds += row.milli_core_seconds
        known.usage.memory_byte_seconds += row.memory_byte_seconds
        known.usage.gpu_seconds += row.gpu_seconds
    return list(found.values())
