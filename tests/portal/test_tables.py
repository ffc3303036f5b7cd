"""Sorting, stacking, shares: what tables and plots are made of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dachub.model.usage import Usage, UsageReport, UsageRow
from dachub.server.portal.periods import Period
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.stacks import MOST_LAYERS, Stack, column_of, shares, stack
from dachub.server.portal.tables import address, sorted_rows

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)
MONTH = Period("custom", date(2027, 3, 1), date(2027, 3, 31))
YEARS = Period("custom", date(2025, 2, 3), date(2027, 3, 31))
BY = {"length": len, "text": str}


def _report(period: Period, rows: list[UsageRow], by: list[str]) -> UsageReport:
    return UsageReport(
        since=period.since, until=period.until, counted_to=NOW, by=by, rows=rows,
        total=Usage(milli_core_seconds=sum(row.milli_core_seconds for row in rows)),
    )  # fmt: skip


def _name(row: UsageRow) -> str:
    return row.username or ""


@given(
    st.lists(st.tuples(st.integers(1, 10), st.integers(0, 30), st.integers(1, 10**12)), max_size=60)
)
def test_layers_days_and_shares_add_up_to_the_total(used: list[tuple[int, int, int]]) -> None:
    rows = [
        UsageRow(day=date(2027, 3, day), username=f"u{who}", milli_core_seconds=amount)
        for day, who, amount in used
    ]
    report = _report(MONTH, rows, ["day", "user"])
    made = stack(report, MONTH, _name)
    assert len(made.layers) <= MOST_LAYERS
    assert sum(layer.total for layer in made.layers) == report.total.milli_core_seconds
    assert sum(total for _, total, _ in made.rows()) == report.total.milli_core_seconds
    assert all(total == sum(amounts) for _, total, amounts in made.rows())
    assert sum(share.usage.milli_core_seconds for share in shares(report, _name)) == (
        report.total.milli_core_seconds
    )


def test_long_periods_are_stacked_by_month() -> None:
    assert column_of(MONTH, NOW) == "day"
    assert column_of(YEARS, NOW) == "month"
    rows = [
        UsageRow(month=date(2025, 2, 1), username="ada", milli_core_seconds=7),
        UsageRow(month=date(2027, 3, 1), username="ada", milli_core_seconds=5),
    ]
    made = stack(_report(YEARS, rows, ["month", "user"]), YEARS, _name)
    assert made.unit == "month"
    assert len(made.days) == 26
    assert made.rows() == [("2027-03", 5, [5]), ("2025-02", 7, [7])]
    hours_stacked(made, "dark")


def test_a_person_called_others_is_not_the_others() -> None:
    rows = [
        UsageRow(day=date(2027, 3, 1), username=name, milli_core_seconds=100 - n)
        for n, name in enumerate(["2 others", *(f"u{n}" for n in range(8))])
    ]
    made = stack(_report(MONTH, rows, ["day", "user"]), MONTH, _name)
    assert [layer.label for layer in made.layers].count("2 others") == 2
    assert len(layer_colours(len(made.layers))) >= len(made.layers)


@pytest.mark.parametrize("asked", ["", "nonsense", "-", "__class__", "-length"])
def test_a_table_is_sorted_as_asked_or_by_default(asked: str) -> None:
    rows, sorting = sorted_rows(["bb", "a", "ccc"], asked, BY, "-length")
    assert rows == ["ccc", "bb", "a"]
    assert sorting.text == "-length"
    assert sorting.other_way("length", descending_first=True) == "length"
    assert sorting.other_way("text", descending_first=False) == "text"


def test_an_address_keeps_what_else_was_asked() -> None:
    assert address({"by": "user", "search": ""}, sort="-used") == "?by=user&sort=-used"
    assert address({"by": "a&b=<"}, by=None) == "?"


def test_nothing_used_is_a_plot_too() -> None:
    empty = stack(_report(MONTH, [], ["day", "user"]), MONTH, _name)
    assert isinstance(empty, Stack)
    assert empty.rows() == []
    hours_stacked(empty, "light")
