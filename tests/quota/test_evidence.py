"""When figures are doubted, what for, and when no longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dachub.accounting.models import WorkerRun
from dachub.quota.models import Vigil, Watch
from dachub.quota.services.evidence import held_because, judge
from dachub.quota.settings import QuotaSettings

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SETTINGS = QuotaSettings()
TRUSTED = Watch(NOW - MINUTE)
REMEMBERED = Vigil(NOW - MINUTE, 1000)


def reconciled(ago: timedelta = timedelta(seconds=30), *, is_clean: bool = True) -> WorkerRun:
    return WorkerRun("reconcile", NOW - ago, "", is_clean)


def seen(
    previous: Watch | None = TRUSTED, vigil: Vigil = REMEMBERED, passed_seconds: float = 1060
) -> Watch:
    return judge(previous, vigil, reconciled(), NOW, passed_seconds, SETTINGS)


def test_where_all_agrees_nothing_is_doubted() -> None:
    assert seen() == Watch(NOW)
    assert held_because(seen(), reconciled(), NOW, SETTINGS) == ""
    assert seen(vigil=Vigil()) == Watch(NOW)  # just restarted


@pytest.mark.parametrize(
    ("watch", "why", "needs_a_person"),
    [
        (seen(passed_seconds=1000), "the clock was set forward by 0:01:00", False),
        (seen(passed_seconds=1300), "the clock was set back by 0:04:00", False),
        (
            seen(TRUSTED, Vigil(NOW - timedelta(days=40), 1000)),
            "the clock was set forward by 39 days, 23:59:00",
            True,
        ),
        (seen(Watch(NOW + MINUTE), Vigil()), "the clock is 0:01:00 behind the last run", False),
        (
            seen(Watch(NOW - timedelta(days=2)), Vigil()),
            "nobody looked for 2 days, 0:00:00: an outage, or a database from a backup",
            False,
        ),
        (
            seen(Watch(NOW - 3 * MINUTE)),
            "the database is older than what was written to it: it was restored",
            False,
        ),
        (seen(None, Vigil()), "nothing is known of the time before", False),
    ],
)
def test_each_contradiction_is_a_doubt_of_its_own(
    watch: Watch, why: str, needs_a_person: bool
) -> None:
    assert (watch.doubt, watch.needs_a_person) == (why, needs_a_person)
    assert held_because(watch, reconciled(), NOW, SETTINGS).startswith(why)


def test_a_doubt_passes_after_two_clean_reconciliations_and_some_time() -> None:
    watch = Watch(NOW, "doubt", NOW)
    vigil = Vigil()
    found = []
    for minutes, is_clean in [(1, True), (2, False), (3, True), (4, True), (5, True)]:
        now = NOW + minutes * MINUTE
        run = WorkerRun("reconcile", now, "", is_clean)
        watch = judge(watch, vigil, run, now, 0, SETTINGS)
        found.append((watch.reconciliations, bool(watch.doubt)))
    assert found == [(1, True), (0, True), (1, True), (0, False), (0, False)]


def test_an_old_reconciliation_proves_nothing_new() -> None:
    watch = Watch(NOW - MINUTE, "doubt", NOW - MINUTE)
    for _ in range(5):
        watch = judge(watch, Vigil(), reconciled(2 * MINUTE), NOW, 0, SETTINGS)
    assert (watch.doubt, watch.reconciliations) == ("doubt", 0)


def test_two_comparisons_in_a_moment_do_not_settle_it() -> None:
    watch = Watch(NOW, "doubt", NOW)
    for seconds in (5, 10, 15):
        now = NOW + timedelta(seconds=seconds)
        watch = judge(watch, Vigil(), WorkerRun("reconcile", now, ""), now, 0, SETTINGS)
    assert watch.doubt
    assert "settling" in held_because(watch, WorkerRun("reconcile", now, ""), now, SETTINGS)


def test_a_wild_clock_is_believed_only_if_a_person_says_so() -> None:
    watch = seen(TRUSTED, Vigil(NOW - timedelta(days=40), 1000))
    for minutes in range(1, 10):
        now = NOW + minutes * MINUTE
        watch = judge(watch, Vigil(), WorkerRun("reconcile", now, ""), now, 0, SETTINGS)
    assert watch.needs_a_person
    assert "dachub allocation trust" in held_because(watch, reconciled(), NOW, SETTINGS)
    again = judge(watch, Vigil(now, 0), None, now + MINUTE, 0, SETTINGS)
    assert again.needs_a_person  # another doubt does not hide the first
    watch = replace(watch, needs_a_person=False)
    for minutes in range(10, 13):
        now = NOW + minutes * MINUTE
        watch = judge(watch, Vigil(), WorkerRun("reconcile", now, ""), now, 0, SETTINGS)
    assert not watch.doubt


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (None, "ledger and running servers were never compared"),
        (reconciled(10 * MINUTE), "ledger and running servers were last compared 0:10:00 ago"),
        (reconciled(is_clean=False), "servers that the ledger charges are missing at the hub"),
    ],
)
def test_nothing_is_done_on_a_stale_or_unclean_reconciliation(
    run: WorkerRun | None, why: str
) -> None:
    assert held_because(Watch(NOW), run, NOW, SETTINGS) == why
