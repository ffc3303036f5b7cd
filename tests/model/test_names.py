"""Names are safe wherever they are used, and people who differ never share one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dachub.model.names import (
    GROUP_SLUG_PATTERN,
    USERNAME_PATTERN,
    group_slug,
    is_reserved_username,
    is_username,
    unique_username,
    username_candidate,
)

HOSTILE = [
    "",
    "'; drop table person; --",
    "<script>alert(1)</script>",
    "root\nroot",
    "../../etc/passwd",
    "a" * 10_000,
    "Ægir Þórsson",
    "王小明",
    "\x00\x01",
    "-rf",
    "UPPER.Case@example.org",
]


@pytest.mark.parametrize("claim", HOSTILE)
def test_hostile_claims_give_a_safe_candidate_or_none(claim: str) -> None:
    candidate = username_candidate(claim)
    assert candidate == "" or is_username(candidate)


@given(st.text(max_size=200), st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_a_unique_username_is_always_valid(claim: str, issuer: str, subject: str) -> None:
    name = unique_username(username_candidate(claim), issuer, subject)
    assert re.fullmatch(USERNAME_PATTERN, name)


def test_two_subjects_with_one_preferred_name_get_different_unique_names() -> None:
    first = unique_username("alice", "https://op.example", "1")
    second = unique_username("alice", "https://op.example", "2")
    assert first != second
    assert first.startswith("alice-")


@pytest.mark.parametrize("name", ["root\n", "a" * 33, "1st", "a-", "A", "a_b", "a b", ""])
def test_what_is_no_username(name: str) -> None:
    assert not is_username(name)


@pytest.mark.parametrize(
    "name", ["root", "dachub-postgres", "dachub-users", "docker", "lxd", "disk"]
)
def test_accounts_of_the_platform_and_groups_with_power_are_nobodys_to_claim(name: str) -> None:
    assert is_username(name)
    assert is_reserved_username(name)


@given(st.text(min_size=1, max_size=300))
def test_every_group_name_gets_a_valid_slug(name: str) -> None:
    assert re.fullmatch(GROUP_SLUG_PATTERN, group_slug(name))


def test_readable_group_names_stay_readable_and_lossy_ones_stay_apart() -> None:
    assert group_slug("UKLSST") == "uklsst"
    assert group_slug("UKLSST:photoz") == "uklsst-photoz"
    assert group_slug("Groß") != group_slug("Gross")
    long = "a-very-long-campaign-name"
    assert group_slug(long + "-1") != group_slug(long + "-2")
