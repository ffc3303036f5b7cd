"""Whether figures can be acted upon: nobody is stopped because of a clock, a backup or an outage.

Pure: what was seen before and what is seen now, to what is believed. Three witnesses are heard:

- the **wall clock**, by which sessions are charged, against the process's monotonic clock;
- the **database**, whose last recorded run must be neither in the future nor long ago, nor older
  than what this process itself has recorded: else it was restored, or nobody looked for a while;
- the **reconciliation** of ledger and hub, which must be recent and have missed no server.

A doubt passes after :data:`CLEAN_RECONCILIATIONS` clean reconciliations, :data:`SETTLING` later at
the earliest. A jump of the wall clock by more than :data:`JUMP_BELIEVED` passes only when an
administrator says that the clock is right: what was charged over it may be wrong for good.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dachub.accounting.models import WorkerRun
from dachub.quota.models import Vigil, Watch
from dachub.quota.settings import QuotaSettings

JUMP = timedelta(seconds=10)
"""How far wall clock and monotonic clock may drift apart from one run to the next."""
JUMP_BELIEVED = timedelta(minutes=5)
SETTLING = timedelta(minutes=2)
CLEAN_RECONCILIATIONS = 2
GAP_RUNS = 10
GAP_MIN = timedelta(minutes=5)
STALE_RECONCILIATIONS = 4
STALE_MIN = timedelta(minutes=2)


def judge(
    previous: Watch | None,
    vigil: Vigil,
    reconciled: WorkerRun | None,
    now: datetime,
    passed_seconds: float,
    settings: QuotaSettings,
) -> Watch:
    """What this run believes, to be kept as ``previous`` of the next one."""
    if (doubt := _clock_doubt(previous, vigil, now, passed_seconds, settings)) is not None:
        why, needs_a_person = doubt
        needs_a_person |= previous is not None and previous.needs_a_person
        return Watch(now, why, now, needs_a_person)
    assert previous is not None  # noqa: S101  without it there is a doubt
    watch = replace(previous, run_at=now)
    if not watch.doubt or watch.needs_a_person:
        return watch
    since = watch.reconciled_at or watch.doubt_since or now
    if reconciled is not None and reconciled.succeeded_at > since:
        count = watch.reconciliations + 1 if reconciled.is_clean else 0
        watch = replace(watch, reconciliations=count, reconciled_at=reconciled.succeeded_at)
    settled = watch.doubt_since is None or now - watch.doubt_since >= SETTLING
    return Watch(now) if settled and watch.reconciliations >= CLEAN_RECONCILIATIONS else watch


def held_because(
    watch: Watch, reconciled: WorkerRun | None, now: datetime, settings: QuotaSettings
) -> str:
    """Why nothing is to be enforced now; empty where there is no reason."""
    if watch.doubt:
        return f"{watch.doubt}; {_what_ends_it(watch)}"
    if reconciled is None:
        return "ledger and running servers were never compared"
    age = now - reconciled.succeeded_at
    stale = timedelta(seconds=settings.reconcile_seconds * STALE_RECONCILIATIONS)
    if age > max(stale, STALE_MIN):
        return f"ledger and running servers were last compared {_spoken(age)} ago"
    if not reconciled.is_clean:
        return "servers that the ledger charges are missing at the hub"
    return ""


def _clock_doubt(
    previous: Watch | None,
    vigil: Vigil,
    now: datetime,
    passed_seconds: float,
    settings: QuotaSettings,
) -> tuple[str, bool] | None:
    """What of clocks and database cannot be right, and whether only a person can tell."""
    if vigil.run_at is not None:
        passed = timedelta(seconds=passed_seconds - vigil.passed_seconds)
        jump = now - vigil.run_at - passed
        if abs(jump) > JUMP:
            way = "forward" if jump > timedelta() else "back"
            return f"the clock was set {way} by {_spoken(abs(jump))}", abs(jump) > JUMP_BELIEVED
    if previous is None:
        return "nothing is known of the time before", False
    if vigil.run_at is not None and previous.run_at < vigil.run_at - JUMP:
        return "the database is older than what was written to it: it was restored", False
    if now < previous.run_at - JUMP:
        return f"the clock is {_spoken(previous.run_at - now)} behind the last run", False
    gap = now - previous.run_at
    if gap > max(GAP_MIN, timedelta(seconds=settings.enforce_seconds * GAP_RUNS)):
        return f"nobody looked for {_spoken(gap)}: an outage, or a database from a backup", False
    return None


def _what_ends_it(watch: Watch) -> str:
    if watch.needs_a_person:
        return "if the clock is right now, say so with: dachub allocation trust"
    left = CLEAN_RECONCILIATIONS - watch.reconciliations
    comparisons = "comparison" if left == 1 else "comparisons"
    return f"waiting for {left} clean {comparisons} with the hub" if left > 0 else "settling"


def _spoken(span: timedelta) -> str:
    return str(timedelta(seconds=int(span.total_seconds())))
