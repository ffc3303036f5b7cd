"""Ids of sessions: in the order of time, and never the same."""

from __future__ import annotations

import time
from uuid import RFC_4122

import pytest

from dachub.model.sessions import new_session_id


def test_ids_sort_by_when_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0, 1_800_000_000_000_000_000, 1_800_000_000_001_000_000, (1 << 47) * 1_000_000]
    made = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda now=moment: now)
        made.append(new_session_id())
    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}


@pytest.mark.parametrize("nanoseconds", [-(10**18), 1 << 200])
def test_a_clock_that_makes_no_sense_still_makes_ids(
    nanoseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)
    assert len({new_session_id() for _ in range(1000)}) == 1000
