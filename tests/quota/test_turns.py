"""Whose turn it is, for any order of asking: nothing beyond a limit, nobody passed over."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from dachub.model.queue import WaitsFor
from dachub.quota.models import CoreLimits, Permit
from dachub.quota.services.turns import SITE, group_limit, is_too_large, turns

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
COMA = (WaitsFor.GROUP, "coma")


def permit(number: int, milli_cores: int = 1000, group: str = "virgo", **more: bool) -> Permit:
    is_rescue = more.get("is_rescue", False)
    return Permit(
        number, UUID(int=number), f"p{number}", "", group, milli_cores, is_rescue, NOON, NOON
    )


def numbers(permits: list[Permit]) -> list[int]:
    return [one.number for one in permits]


def test_first_come_first_served_up_to_the_limit() -> None:
    outcome = turns([permit(n) for n in range(1, 8)], {"coma": 1000}, CoreLimits(site=4000))
    assert numbers(outcome.granted) == [1, 2, 3]
    assert numbers(outcome.lines[SITE]) == [4, 5, 6, 7]


def test_a_large_server_is_not_overtaken_by_small_ones_for_ever() -> None:
    waiting = [permit(1, 4000), permit(2, 1000)]
    outcome = turns(waiting, {"virgo": 2000}, CoreLimits(site=4000))
    assert not outcome.granted
    assert numbers(outcome.lines[SITE]) == [1, 2]


def test_who_waits_for_the_limit_of_a_group_holds_up_that_group_alone() -> None:
    limits = CoreLimits(site=8000, of_groups={"coma": 2000})
    waiting = [permit(1, 2000, "coma"), permit(2, 500, "coma"), permit(3), permit(4)]
    outcome = turns(waiting, {"coma": 1000}, limits)
    assert numbers(outcome.granted) == [3, 4]
    assert numbers(outcome.lines[COMA]) == [1, 2]


def test_each_group_has_a_limit_unless_it_has_one_of_its_own() -> None:
    limits = CoreLimits(of_each_group=1000, of_groups={"coma": 3000})
    waiting = [permit(1, 1000, "coma"), permit(2), permit(3, 2000, "coma"), permit(4)]
    outcome = turns(waiting, {}, limits)
    assert numbers(outcome.granted) == [1, 2, 3]
    assert numbers(outcome.lines[(WaitsFor.GROUP, "virgo")]) == [4]


def test_what_could_never_start_holds_up_nobody() -> None:
    outcome = turns([permit(1, 9000), permit(2)], {}, CoreLimits(site=8000))
    assert (numbers(outcome.too_large), numbers(outcome.granted)) == ([1], [2])


def test_who_must_make_room_waits_for_the_site_but_not_for_the_group() -> None:
    limits = CoreLimits(site=1500, of_groups={"coma": 250})
    waiting = [permit(n, 500, "coma", is_rescue=True) for n in (1, 2)]
    outcome = turns(waiting, {"virgo": 1000}, limits)
    assert (numbers(outcome.granted), numbers(outcome.lines[SITE])) == ([1], [2])


PERMITS = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(["coma", "virgo"]), st.booleans()), max_size=30
)
LIMIT = st.none() | st.integers(1, 60)


@given(PERMITS, st.dictionaries(st.sampled_from(["coma", "virgo"]), st.integers(0, 80)), LIMIT,
       LIMIT, LIMIT)  # fmt: skip
def test_no_limit_is_exceeded_and_nobody_is_lost(
    asked: list[tuple[int, str, bool]], in_use: dict[str, int], site: int | None,
    each: int | None, coma: int | None,
) -> None:  # fmt: skip
    limits = CoreLimits(site, each, {} if coma is None else {"coma": coma})
    waiting = [
        permit(number, wanted, group, is_rescue=rescue)
        for number, (wanted, group, rescue) in enumerate(asked)
    ]
    outcome = turns(waiting, in_use, limits)
    if outcome.granted and site is not None:
        assert sum(outcome.in_use.values()) <= site
    for one in outcome.granted:
        limit = group_limit(one, limits)
        before = [o.milli_cores for o in outcome.granted if o.group == one.group
                  and o.number <= one.number]  # fmt: skip
        assert limit is None or in_use.get(one.group, 0) + sum(before) <= limit
    for line in outcome.lines.values():
        assert numbers(line) == sorted(numbers(line))
    together = [*outcome.granted, *outcome.too_large, *chain(*outcome.lines.values())]
    assert sorted(numbers(together)) == numbers(waiting)
    assert all(is_too_large(one, limits) for one in outcome.too_large)


def test_whoever_waits_first_would_not_fit() -> None:
    """A free core is never kept from the first of a line."""
    limits = CoreLimits(site=10, of_groups={"coma": 5})
    for wanted in range(1, 11):
        outcome = turns([permit(1, wanted), permit(2, 6 - wanted % 5, "coma")], {"coma": 3}, limits)
        first = outcome.lines.get(SITE)
        total = sum(outcome.in_use.values())
        assert first is None or total + first[0].milli_cores > 10
