"""Ledger against witness: what was charged, beside what really ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.harness.witness import Run

# Ledger and witness cut the same moment to whole seconds on their own: one second apart at most.
SECOND = 1
# The hub looks whether a new server answers, in growing steps, and counts from when it does.
NOTICED_READY_SECONDS = 3


@dataclass(slots=True)
class Comparison:
    """What differs; every list is empty where the ledger is right.

    Attributes
    ----------
    lost
        Ran, but the ledger does not know them.
    invented
        Charged, but never ran.
    doubled
        More than one process for a session.
    left_open
        The process is gone and the ledger does not know.
    inexact
        An end that is not marked as an estimate and is not exact, or a start that is not.
    overcharged
        An estimate beyond the true end.
    never_ready
        Sessions that began to listen and that the ledger says never became ready.
    """

    exact: int = 0
    estimated: int = 0
    lost: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    left_open: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)
    overcharged: list[str] = field(default_factory=list)
    never_ready: list[str] = field(default_factory=list)


def compare(
    ledger: Sequence[Mapping[str, Any]],
    runs: Sequence[Run],
    killed_at: Mapping[int, float],
    hub_killed_at: Sequence[float],
) -> Comparison:
    """Compare sessions (as ``dachub session list --json`` prints them) with what ran.

    Parameters
    ----------
    killed_at
        Unix seconds at which servers were killed that could not testify their end, by pid.
    hub_killed_at
        Unix seconds at which the hub was killed. A start that this interrupts counts from when the
        next hub finds the server, since nobody can reach it before.
    """
    sessions = {session["session_id"]: session for session in ledger}
    ran = {run.session_id: run for run in runs}
    processes = Counter(run.session_id for run in runs)
    result = Comparison(
        lost=sorted(ran.keys() - sessions.keys()),
        invented=sorted(
            name for name, each in sessions.items() if each["started_at"] and name not in ran
        ),
        doubled=[name for name, count in processes.items() if count > 1],
        left_open=sorted(name for name, each in sessions.items() if each["state"] != "ended"),
    )
    for name in ran.keys() & sessions.keys():
        run, session = ran[name], sessions[name]
        if session["state"] != "ended":
            continue
        if session["started_at"] is None:
            result.never_ready.append(name)
            continue
        start, end = _seconds(session["started_at"]), _seconds(session["ended_at"])
        true_end = killed_at.get(run.pid, run.last_alive_at)
        interrupted = any(run.listening_at - 30 < at < start + SECOND for at in hub_killed_at)
        late = start - int(run.listening_at)
        if late < -SECOND or (late > NOTICED_READY_SECONDS and not interrupted):
            result.inexact.append(f"{name} starts {late:+d} s")
        off = end - int(true_end)
        if session["end_is_estimate"]:
            result.estimated += 1
            if off > SECOND:
                result.overcharged.append(
                    f"{name} ends {off:+d} s, an estimate: ran {run.listening_at:.1f} to "
                    f"{true_end:.1f}, charged {start} to {end}, seen {session['last_seen_at']}, "
                    f"{session['end_reason']}, hub killed at {hub_killed_at}"
                )
        else:
            result.exact += 1
            if abs(off) > SECOND:
                result.inexact.append(f"{name} ends {off:+d} s ({session['end_reason']})")
    return result


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
