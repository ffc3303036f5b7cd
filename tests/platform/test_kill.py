"""The point of the ledger: kill anything at any moment, and the account is right afterwards.

``DACHUB_KILL_SESSIONS`` says how many sessions (``make test-kill``: 220), ``DACHUB_KILL_SEED``
repeats a run's choices.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.harness.comparison import compare
from tests.harness.crowd import Crowd
from tests.harness.platform import Part, Platform
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.harness.witness import Witness

pytestmark = [pytest.mark.kill, pytest.mark.hub]

SESSIONS = int(os.environ.get("DACHUB_KILL_SESSIONS", "40"))
SEED = int(os.environ.get("DACHUB_KILL_SEED", random.SystemRandom().randrange(10**6)))
PEOPLE = [f"astronomer-{number}" for number in range(10)]
PASSWORD = secrets.token_hex(16)
PARTS: tuple[Part, ...] = ("hub", "service", "postgres", "proxy")
PAUSE_BETWEEN_KILLS_SECONDS = (1.0, 7.0)
KILLS = max(len(PARTS), SESSIONS // 5)
SETTLE_SECONDS = 120
CHOICE = {"group": "campaign", "size": "small", "environment": "tiny"}


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with tempfile.TemporaryDirectory(prefix="dachub-witness-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Witness(Path(directory))


@pytest.fixture(scope="module")
def platform(witness: Witness) -> Iterator[Platform]:
    settings = {
        "servers": {"environments": [witness.environment()], "heartbeat_seconds": 2},
        "quota": {"reconcile_seconds": 5},
    }
    with Platform(settings) as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        for name in PEOPLE:
            running.dachub("user", "add", name, "--password-stdin", stdin=PASSWORD)
            running.dachub("group", "add-member", "campaign", name)
        yield running


@pytest.fixture
def people(platform: Platform) -> Iterator[list[Visitor]]:
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(platform.url, name, PASSWORD)) for name in PEOPLE]
        for visitor in visitors:
            visitor.login()
            visitor.token()
        yield visitors


def open_sessions(platform: Platform) -> list[dict[str, Any]]:
    return [session for session in platform.sessions() if session["state"] != "ended"]


@pytest.mark.timeout(120 + 12 * SESSIONS)
def test_after_any_kill_the_ledger_equals_what_really_ran(
    platform: Platform, people: list[Visitor], witness: Witness
) -> None:
    print(f"DACHUB_KILL_SEED={SEED} repeats the choices")  # noqa: T201
    chance = random.Random(SEED)
    kills: list[tuple[Part, float]] = []
    crowd = Crowd(people, witness, CHOICE, SEED)
    crowd.start()
    try:
        while len(witness.runs()) < SESSIONS or len(kills) < KILLS:
            time.sleep(chance.uniform(*PAUSE_BETWEEN_KILLS_SECONDS))
            # Every part in turn comes first, so that a short run kills each of them, too.
            part = PARTS[len(kills)] if len(kills) < len(PARTS) else chance.choice(PARTS)
            platform.kill(part)
            kills.append((part, time.time()))
    finally:
        platform.wait_until_ready()
        crowd.finish(SETTLE_SECONDS)
    until(lambda: not open_sessions(platform), "every session is closed", SETTLE_SECONDS)

    runs = witness.runs()
    hub_kills = [at for part, at in kills if part == "hub"]
    ledger = [each for each in platform.sessions() if each["username"] in PEOPLE]
    result = compare(
        ledger,
        runs,
        {each.pid: each.at for each in crowd.killed},
        hub_kills,
    )
    print(  # noqa: T201
        f"{len(runs)} sessions, {len(kills)} kills {dict(Counter(part for part, _ in kills))}, "
        f"{len(crowd.killed)} servers killed: {result.exact} ends exact, "
        f"{result.estimated} estimated, {len(result.never_ready)} never ready"
    )
    assert len(runs) >= SESSIONS
    assert {part for part, _ in kills} == set(PARTS)
    assert result.lost == []
    assert result.invented == []
    assert result.doubled == []
    assert result.left_open == []
    assert result.inexact == []
    assert result.overcharged == []
    assert crowd.surprises == []
    # Only a hub that was killed half-way through a start may leave a server that never was ready.
    assert len(result.never_ready) <= len([part for part, _ in kills if part == "hub"]) * len(
        people
    )
    # The sums that quota and portal read agree with the sessions, to the milli-core-second.
    usage = platform.json("usage", "--group", "campaign", "--since", "2000-01-01")
    charged = sum(round(session["core_seconds"] * 1000) for session in ledger)
    assert usage["total"]["milli_core_seconds"] == charged


def live_through(platform: Platform, person: Visitor, witness: Witness) -> str:
    """One session from a fresh login to the stop; gives its id."""
    with Visitor(platform.url, person.username, PASSWORD) as fresh:
        fresh.login()
        assert fresh.is_logged_in()
    before = {run.session_id for run in witness.runs()}
    answer = person.start(**CHOICE)
    assert answer.status_code in {201, 202}, answer.text
    person.wait_until_started()
    time.sleep(2)  # what is to be charged
    person.stop()
    person.wait_until_stopped()
    [session_id] = {run.session_id for run in witness.runs()} - before
    return session_id


def charged_exactly(platform: Platform, witness: Witness, session_ids: set[str]) -> bool:
    ledger = [each for each in platform.sessions() if each["session_id"] in session_ids]
    if len(ledger) < len(session_ids) or any(each["state"] != "ended" for each in ledger):
        return False
    runs = [run for run in witness.runs() if run.session_id in session_ids]
    result = compare(ledger, runs, {}, [])
    assert result.exact == len(session_ids), result
    faults = result.lost + result.inexact + result.doubled + result.invented
    assert not faults, result
    return True


@pytest.mark.parametrize("how", ["hung", "dead"])
@pytest.mark.parametrize("part", ["service", "postgres"])
def test_work_goes_on_without_the_accounting_and_nothing_is_lost(
    platform: Platform, people: list[Visitor], witness: Witness, part: Part, how: str
) -> None:
    platform.wait_until_ready()
    if how == "hung":
        pid = platform.kill(part, signal.SIGSTOP)
    else:
        platform.supervisor().stopProcess(part)
    try:
        done = {live_through(platform, person, witness) for person in people[:3]}
    finally:
        if how == "hung":
            os.kill(pid, signal.SIGCONT)
        else:
            platform.supervisor().startProcess(part)
    platform.wait_until_ready()
    until(lambda: charged_exactly(platform, witness, done), "the ledger knows", SETTLE_SECONDS)
    assert people[0].http.get("/services/dac/").status_code == 200  # recovered by itself
