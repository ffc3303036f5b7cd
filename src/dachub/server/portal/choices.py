"""What pages read from their address: the period and where a list goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from dachub.model.problems import InvalidInput
from dachub.server.portal.pages import Visitor
from dachub.server.portal.periods import Period, choose_period
from dachub.server.portal.plots import Theme


@dataclass(frozen=True, slots=True)
class Chosen:
    """The period a page shows, and what was wrong with the one asked for."""

    period: Period
    first: str
    last: str
    error: str = ""


def _chosen(
    visit: Visitor,
    period: Annotated[str, Query(max_length=20)] = "this-month",
    first: Annotated[str, Query(max_length=20)] = "",
    last: Annotated[str, Query(max_length=20)] = "",
) -> Chosen:
    try:
        shown = choose_period(period, first, last, visit.now)
    except InvalidInput as error:
        shown = choose_period("this-month", "", "", visit.now)
        return Chosen(shown, first, last, error.message)
    return Chosen(shown, shown.first.isoformat(), shown.last.isoformat())


ChosenPeriod = Annotated[Chosen, Depends(_chosen)]
ChosenTheme = Annotated[Theme, Query()]
