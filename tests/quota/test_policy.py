"""The state machine of quotas, step by step and for any history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dachub.model.usage import Policy, QuotaPolicy, QuotaState
from dachub.quota.models import Standing
from dachub.quota.services.policy import (
    ORDER,
    Measured,
    StepKind,
    advance,
    for_members,
    strictest,
)

NOW = datetime(2027, 1, 15, tzinfo=UTC)
PERIOD = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
STOP = QuotaPolicy(when_spent=Policy.STOP, grace_percent=5, grace_seconds=7200)


def walk(
    policy: QuotaPolicy, *used_of_100: int, step: timedelta = HOUR
) -> list[tuple[str, list[str]]]:
    """States and steps as the usage grows, an hour between two looks."""
    standing, now, seen = Standing(), NOW, []
    for used in used_of_100:
        standing, steps = advance(standing, Measured(PERIOD, used, 100), policy, now)
        told = [
            f"{one.kind}" + (f" {one.percent}" if one.kind is StepKind.WARNED else "")
            for one in steps
        ]
        seen.append((standing.state.value, told))
        now += step
    return seen


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            QuotaPolicy(),
            [
                ("ok", []),
                ("warned", ["warned 75"]),
                ("warned", ["warned 90"]),
                ("closed", ["closed"]),
                ("closed", []),
            ],
        ),
        (
            QuotaPolicy(when_spent=Policy.WARN),
            [
                ("ok", []),
                ("warned", ["warned 75"]),
                ("warned", ["warned 90"]),
                ("warned", ["warned 100"]),
                ("warned", []),
            ],
        ),
        (QuotaPolicy(when_spent=Policy.ALLOW), [("ok", [])] * 5),
        (
            STOP,
            [
                ("ok", []),
                ("warned", ["warned 75"]),
                ("warned", ["warned 90"]),
                ("grace", ["grace"]),
                ("stopping", ["stopping"]),
            ],
        ),
    ],
)
def test_every_policy_goes_its_way(
    policy: QuotaPolicy, expected: list[tuple[str, list[str]]]
) -> None:
    assert walk(policy, 74, 75, 95, 101, 105) == expected


def test_of_two_graces_the_one_that_ends_first_counts() -> None:
    by_amount = walk(STOP, 100, 104, 105)
    assert [state for state, _ in by_amount] == ["grace", "grace", "stopping"]
    by_time = walk(STOP, 100, 100, 100)
    assert [state for state, _ in by_time] == ["grace", "grace", "stopping"]
    only_amount = QuotaPolicy(grace_percent=5)
    assert [state for state, _ in walk(only_amount, *[104] * 50)][-1] == "grace"
    only_time = QuotaPolicy(grace_seconds=3600)
    assert [state for state, _ in walk(only_time, 100, 900)] == ["grace", "closed"]


def test_what_nobody_saw_is_not_told_belatedly() -> None:
    assert walk(QuotaPolicy(), 0, 95) == [("ok", []), ("warned", ["warned 90"])]
    assert walk(QuotaPolicy(), 300) == [("closed", ["closed"])]


def test_more_granted_reopens_and_thresholds_count_anew() -> None:
    closed, _ = advance(Standing(), Measured(PERIOD, 100, 100), STOP, NOW - 3 * HOUR)
    closed, _ = advance(closed, Measured(PERIOD, 106, 100), STOP, NOW - 2 * HOUR)
    assert closed.state is QuotaState.STOPPING
    opened, steps = advance(closed, Measured(PERIOD, 106, 200), STOP, NOW)
    assert (opened.state, [one.kind for one in steps]) == (QuotaState.OK, [StepKind.REOPENED])
    _, steps = advance(opened, Measured(PERIOD, 150, 200), STOP, NOW + HOUR)
    assert [(one.kind, one.percent) for one in steps] == [(StepKind.WARNED, 75)]
    opened, steps = advance(closed, Measured(PERIOD, 106, 110), STOP, NOW)
    assert [one.kind for one in steps] == [StepKind.REOPENED]  # 90 % had been told long ago
    assert opened.state is QuotaState.WARNED


def test_a_new_period_begins_from_nothing() -> None:
    closed, _ = advance(Standing(), Measured(PERIOD, 100, 100), QuotaPolicy(), NOW)
    later = PERIOD + timedelta(days=31)
    opened, steps = advance(closed, Measured(later, 0, 100), QuotaPolicy(), later)
    assert (opened.state, [one.kind for one in steps]) == (QuotaState.OK, [StepKind.REOPENED])
    assert opened.spent_at is None


def test_nothing_allocated_is_spent_at_once() -> None:
    standing, steps = advance(Standing(), Measured(None, 0, 0), QuotaPolicy(), NOW)
    assert (standing.state, [one.kind for one in steps]) == (QuotaState.CLOSED, [StepKind.CLOSED])


def test_of_several_policies_the_strictest_holds() -> None:
    mild = QuotaPolicy(when_spent=Policy.WARN)
    graceful = QuotaPolicy(grace_percent=10)
    assert strictest([mild, graceful]) == graceful
    assert strictest([QuotaPolicy(), graceful]) == QuotaPolicy()
    assert strictest([STOP, QuotaPolicy()]) == STOP
    assert for_members(mild).when_spent is Policy.DENY
    assert for_members(STOP) == STOP


policies = st.builds(
    QuotaPolicy,
    when_spent=st.sampled_from(Policy),
    warn_at_percent=st.lists(st.integers(1, 100), max_size=3).map(tuple),
    grace_percent=st.sampled_from([0.0, 0.5, 10.0]),
    grace_seconds=st.sampled_from([0, 3600, 86400]),
)
measures = st.builds(
    Measured,
    st.sampled_from([None, PERIOD, PERIOD + timedelta(days=10)]),
    st.integers(0, 300),
    st.integers(0, 200),
)


@given(policies, st.lists(st.tuples(measures, st.integers(-7200, 7200)), max_size=8))
def test_looking_twice_is_looking_once(
    policy: QuotaPolicy, history: list[tuple[Measured, int]]
) -> None:
    standing, now = Standing(), NOW
    for measured, seconds in history:
        now += timedelta(seconds=seconds)  # clocks go backwards too
        standing, _ = advance(standing, measured, policy, now)
        again, steps = advance(standing, measured, policy, now)
        assert (again, list(steps)) == (standing, [])


@given(policies, measures, st.integers(0, 100), st.integers(0, 10**6))
def test_more_used_or_later_is_never_better_and_more_allowed_never_worse(
    policy: QuotaPolicy, measured: Measured, more: int, seconds: int
) -> None:
    def state(of: Measured, at: datetime) -> int:
        before, _ = advance(Standing(), measured, policy, NOW)
        return ORDER.index(advance(before, of, policy, at)[0].state)

    now = state(measured, NOW)
    assert state(replace(measured, used=measured.used + more), NOW) >= now
    assert state(measured, NOW + timedelta(seconds=seconds)) >= now
    assert state(replace(measured, allowed=measured.allowed + more), NOW) <= now


@given(policies, measures)
def test_only_the_strict_close_and_only_when_spent(policy: QuotaPolicy, measured: Measured) -> None:
    state = advance(Standing(), measured, policy, NOW)[0].state
    if not state.may_start:
        assert measured.used >= measured.allowed
        assert policy.when_spent in (Policy.DENY, Policy.STOP)
    assert (state is QuotaState.STOPPING) <= (policy.when_spent is Policy.STOP)
