"""Machines are lost, come back, and are removed: no second is lost or counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.harness.machine import Machine, machines, placed_on
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed, moment, pause

GROUP = "dachub-nodes"
START_SECONDS = 180
NOTICED_SECONDS = 150
"""The cluster waits for 50 seconds before it says that a machine is lost."""
LOST_AFTER_SECONDS = 15
HUB_LOOKS_SECONDS = 30
SERVER_MILLI_CORES = 200
ROOM_FOR_ONE = 300
pytestmark = [pytest.mark.kill, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform whose servers run on machines that are played."""
    settings = {
        "cluster": {
            "machines": {"lost_after_seconds": LOST_AFTER_SECONDS},
            "hub": {"values": {"singleuser": placed_on(GROUP)}},
        }
    }
    with installed("dachub-nodes", settings) as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running


@pytest.fixture(scope="module")
def fleet(platform: Installed) -> Iterator[dict[str, Machine]]:
    """Machines with room for one server each."""
    names = [f"{GROUP}-{number}" for number in range(3)]
    with machines(*names, group=GROUP, milli_cores=ROOM_FOR_ONE) as found:
        yield {machine.name: machine for machine in found}


def start(person: Visitor) -> None:
    person.start(group="campaign", size="tiny").raise_for_status()
    person.wait_until_started(seconds=START_SECONDS)


def machine_of(platform: Installed, fleet: dict[str, Machine], username: str) -> Machine:
    return fleet[platform.pod(username)["spec"]["nodeName"]]


def readiness(platform: Installed, username: str) -> dict[str, Any]:
    conditions = platform.pod(username)["status"]["conditions"]
    return next(one for one in conditions if one["type"] == "Ready")


def wait_for(platform: Installed, username: str, is_ready: str) -> datetime:
    until(
        lambda: readiness(platform, username)["status"] == is_ready,
        f"the cluster says that the pod of {username} is ready: {is_ready}",
        NOTICED_SECONDS,
        pause_seconds=1,
    )
    return moment(readiness(platform, username)["lastTransitionTime"])


def is_right(session: dict[str, Any]) -> None:
    """Check that what is charged is what the session lasted."""
    lasted = (moment(session["ended_at"]) - moment(session["started_at"])).total_seconds()
    assert session["core_seconds"] == pytest.approx(SERVER_MILLI_CORES / 1000 * lasted)


def test_of_two_machines_that_fall_silent_one_is_lost_and_the_other_comes_back(
    platform: Installed, fleet: dict[str, Machine]
) -> None:
    ada, bert = (platform.person(name, "campaign") for name in ("ada", "bert"))
    for person in (ada, bert):
        start(person)
    lost, cut_off = (machine_of(platform, fleet, name) for name in ("ada", "bert"))
    kept = platform.pod("bert")["metadata"]["uid"]
    went_on = platform.last_session("bert")
    silent_at = datetime.now(UTC)
    for machine in (lost, cut_off):
        machine.fall_silent()
    lost_at = wait_for(platform, "ada", "False")
    wait_for(platform, "bert", "False")
    cut_off.speak()
    wait_for(platform, "bert", "True")

    session = platform.wait_until_ended("ada", LOST_AFTER_SECONDS + HUB_LOOKS_SECONDS + 30)
    assert moment(session["ended_at"]) == lost_at
    assert lost_at > silent_at
    assert (session["end_reason"], session["end_is_estimate"]) == ("machine-lost", True)
    is_right(session)
    page = ada.http.get("/hub/spawn").text
    assert f"was lost at {lost_at:%H:%M} UTC" in page

    start(ada)  # on the third machine
    lost.speak()  # it comes back when everything is over for it
    pause(3 * 5)  # three comparisons of ledger and hub
    earlier, now = platform.sessions("ada")
    assert (earlier["ended_at"], earlier["core_seconds"]) == (
        session["ended_at"],
        session["core_seconds"],
    )
    assert now["ended_at"] is None
    assert machine_of(platform, fleet, "ada") is not lost
    assert bert.servers()[""]["ready"]
    assert platform.pod("bert")["metadata"]["uid"] == kept
    bert.stop()
    bert.wait_until_stopped(seconds=90)
    [session] = platform.sessions("bert")
    assert session["session_id"] == went_on["session_id"]
    session = platform.wait_until_ended("bert")
    assert (session["end_reason"], session["end_is_estimate"]) == ("stopped", False)
    is_right(session)


def test_who_does_not_want_to_wait_stops_it_and_starts_anew(
    platform: Installed, fleet: dict[str, Machine]
) -> None:
    ada = platform.visitor("ada")
    machine = machine_of(platform, fleet, "ada")
    machine.fall_silent()
    lost_at = wait_for(platform, "ada", "False")
    ada.stop()
    ada.wait_until_stopped(seconds=20)
    session = platform.wait_until_ended("ada")
    assert (moment(session["ended_at"]), session["end_reason"]) == (lost_at, "machine-lost")
    start(ada)
    machine.speak()
    assert len(platform.sessions("ada")) == 3


def test_a_machine_that_is_removed_takes_its_session_with_it(
    platform: Installed, fleet: dict[str, Machine]
) -> None:
    machine = machine_of(platform, fleet, "ada")
    machine.fall_silent()
    machine.remove()
    removed_at = datetime.now(UTC)
    session = platform.wait_until_ended("ada", seconds=150)
    assert (session["end_reason"], session["end_is_estimate"]) == ("machine-lost", True)
    assert -30 < (moment(session["ended_at"]) - removed_at).total_seconds() < 90
    is_right(session)
    assert "agree" in platform.dachub("usage", "check")
