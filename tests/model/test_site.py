"""A choice is checked against the person's groups and what each group may use."""

from __future__ import annotations

from datetime import date

import pytest

from dachub.model.site import (
    GroupNotYours,
    NoGroup,
    ServerChoice,
    Size,
    UnknownSize,
    resolve_choice,
)
from dachub.model.software import NO_OWN_IMAGES, Environment, UnknownEnvironment

SIZES = (
    Size(name="small", milli_cores=1000, memory_bytes=2**30),
    Size(name="huge", milli_cores=32_000, memory_bytes=2**36, groups=("photoz",)),
)
ENVIRONMENTS = (
    Environment(name="astronomy"),
    Environment(name="secret", groups=("photoz",)),
)
OFFER = (SIZES, ENVIRONMENTS, NO_OWN_IMAGES, date(2026, 11, 24))


def test_what_is_left_open_is_filled_in_where_one_answer_is_possible() -> None:
    resolved = resolve_choice(ServerChoice(), ["lsst"], *OFFER)
    assert (resolved.group, resolved.size.name, resolved.environment.name) == (
        "lsst",
        "small",
        "astronomy",
    )


def test_with_several_groups_one_must_be_named() -> None:
    with pytest.raises(GroupNotYours, match="Choose the group that pays: lsst, photoz"):
        resolve_choice(ServerChoice(), ["photoz", "lsst"], *OFFER)


def test_a_foreign_group_is_refused() -> None:
    with pytest.raises(GroupNotYours, match="not a member of the group 'photoz'"):
        resolve_choice(ServerChoice(group="photoz"), ["lsst"], *OFFER)


def test_a_size_or_environment_of_another_group_is_refused_like_an_unknown_one() -> None:
    for size in ("huge", "no-such"):
        with pytest.raises(UnknownSize, match="Available: small"):
            resolve_choice(ServerChoice(size=size), ["lsst"], *OFFER)
    with pytest.raises(UnknownEnvironment):
        resolve_choice(ServerChoice(environment="secret"), ["lsst"], *OFFER)
    allowed = resolve_choice(
        ServerChoice(size="huge", environment="secret"),
        ["photoz"],
        *OFFER,
    )
    assert allowed.size.milli_cores == 32_000


def test_nobody_pays_for_a_person_without_group() -> None:
    with pytest.raises(NoGroup, match="Ask the PI"):
        resolve_choice(ServerChoice(group="lsst"), [], *OFFER)
