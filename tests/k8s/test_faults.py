"""Parts of the platform die on the cluster: servers go on, no second is lost or counted twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed, moment, pause

START_SECONDS = 180
BACK_SECONDS = 240
SERVER_MILLI_CORES = 200
pytestmark = [pytest.mark.kill, pytest.mark.timeout(1200)]
ALONE = (
    *("psql", "--username=postgres", "--quiet", "--command"),
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dachub'",
)


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform of these tests' own, because they break it."""
    with installed("dachub-faults") as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running


@pytest.fixture(scope="module")
def ada(platform: Installed) -> Visitor:
    """Somebody whose server runs all the time."""
    return working(platform, "ada")


def working(platform: Installed, username: str) -> Visitor:
    person = platform.person(username, "campaign")
    person.start(group="campaign", size="tiny").raise_for_status()
    person.wait_until_started(seconds=START_SECONDS)
    return person


def kill(platform: Installed, selector: str) -> None:
    """Kill pods as a loss of power does: nobody is asked, nothing is put in order."""
    platform.here.do("delete", "pod", f"--selector={selector}", "--grace-period=0", "--force")


def uid(platform: Installed, username: str) -> str:
    return str(platform.pod(username)["metadata"]["uid"])


def is_exact(session: dict[str, Any]) -> None:
    """Check that what is charged is what the session lasted."""
    lasted = (moment(session["ended_at"]) - moment(session["started_at"])).total_seconds()
    assert session["core_seconds"] == pytest.approx(SERVER_MILLI_CORES / 1000 * lasted)


def test_a_hub_that_is_killed_finds_servers_and_sessions_again(
    platform: Installed, ada: Visitor
) -> None:
    before, pod = platform.last_session("ada"), uid(platform, "ada")
    kill(platform, "component=hub")
    platform.wait_until_ready()
    until(platform.answers, "the platform answers again", BACK_SECONDS)
    until(lambda: ada.servers()[""]["ready"], "the hub knows the server again", 60)
    after = platform.last_session("ada")
    assert uid(platform, "ada") == pod
    assert (after["session_id"], after["started_at"]) == (
        before["session_id"],
        before["started_at"],
    )
    assert after["ended_at"] is None


def test_a_server_that_ends_while_the_hub_is_away_ends_at_that_second(platform: Installed) -> None:
    working(platform, "bea")
    platform.here.do("scale", "deployment/hub", "--replicas=0")
    platform.here.do("wait", "--for=delete", "pod", "--selector=component=hub", "--timeout=90s")
    platform.here.kubectl("exec", "jupyter-bea", "--", "python", "-c", "import os; os.kill(1, 15)")
    ended: dict[str, Any] = {}

    def is_dead() -> bool:
        state = platform.pod("bea")["status"]["containerStatuses"][0]["state"]
        ended.update(state.get("terminated", {}))
        return bool(ended)

    until(is_dead, "the server has ended", 60)
    pause(5)  # what the hub sees late must not be when it ended
    platform.here.do("scale", "deployment/hub", "--replicas=1")
    platform.wait_until_ready()
    session = platform.wait_until_ended("bea", seconds=BACK_SECONDS)
    assert moment(session["ended_at"]) == moment(ended["finishedAt"])
    assert session["end_reason"] == "exited"
    assert not session["end_is_estimate"]
    is_exact(session)


def test_events_wait_in_the_outbox_while_the_service_is_away(platform: Installed) -> None:
    carl = platform.person("carl", "campaign")
    platform.here.do("scale", "deployment/dachub", "--replicas=0")
    selector = "app.kubernetes.io/component=service"
    platform.here.do("wait", "--for=delete", "pod", f"--selector={selector}", "--timeout=120s")
    carl.start(group="campaign", size="tiny").raise_for_status()
    carl.wait_until_started(seconds=START_SECONDS)
    pause(3)
    carl.stop()
    carl.wait_until_stopped(seconds=90)
    platform.here.do("scale", "deployment/dachub", "--replicas=2")
    platform.wait_until_ready()
    session = platform.wait_until_ended("carl", seconds=BACK_SECONDS)
    assert session["end_reason"] == "stopped"
    assert not session["start_is_estimate"]
    assert not session["end_is_estimate"]
    is_exact(session)


def test_the_database_is_killed_and_everything_recovers_by_itself(
    platform: Installed, ada: Visitor
) -> None:
    before = platform.last_session("ada")
    kill(platform, "app.kubernetes.io/component=postgres")
    platform.wait_until_ready()
    until(platform.answers, "the platform answers again", BACK_SECONDS)
    dina = working(platform, "dina")
    dina.stop()
    dina.wait_until_stopped(seconds=90)
    is_exact(platform.wait_until_ended("dina"))
    assert platform.last_session("ada")["session_id"] == before["session_id"]
    assert "agree" in platform.dachub("usage", "check")


def test_a_replica_that_is_killed_is_not_missed(platform: Installed) -> None:
    first = platform.here.get("pods", "--selector=app.kubernetes.io/component=service")["items"][0]
    platform.here.do("delete", "pod", first["metadata"]["name"], "--grace-period=0", "--force")
    assert platform.answers()
    platform.wait_until_ready()


def test_without_a_way_to_the_database_people_go_on(platform: Installed, ada: Visitor) -> None:
    """The network between service and database is cut, as a faulty policy or switch does."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "cut"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "postgres"}},
            "policyTypes": ["Ingress"],
            "ingress": [],
        },
    }
    own = json.loads(platform.here.do("get", "networkpolicy", "dachub-postgres", "-o", "json"))
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        own["metadata"].pop(field, None)
    platform.here.do("delete", "networkpolicy", "dachub-postgres")
    platform.here.do("apply", "--filename=-", given=[policy])

    def is_alone() -> bool:
        # Policies say who may connect; who is connected stays so, unlike at a switch that dies.
        platform.here.do("exec", "dachub-postgres-0", "--", *ALONE)
        return not platform.answers()

    try:
        until(is_alone, "the service says that it is not well", 120, pause_seconds=3)
        assert ada.servers()[""]["ready"]
        ed = platform.visitor("bea")  # known to the hub
        ed.start(group="campaign", size="tiny").raise_for_status()
        ed.wait_until_started(seconds=START_SECONDS)
    finally:
        platform.here.do("delete", "networkpolicy", "cut")
        platform.here.do("apply", "--filename=-", given=[own])
    until(platform.answers, "the platform answers again", BACK_SECONDS)
    until(
        lambda: (
            platform.last_session("bea")["started_at"] is not None
            and platform.last_session("bea")["ended_at"] is None
        ),
        "what happened meanwhile is in the ledger",
        120,
    )


def test_an_upgrade_loses_no_server_and_no_second(platform: Installed, ada: Visitor) -> None:
    before, pod = platform.last_session("ada"), uid(platform, "ada")
    platform.settings["site"]["name"] = "Renamed DAC"
    said = platform.deploy("diff")
    assert re.search(r"^ *- +name: Test DAC$", said, re.MULTILINE)
    assert re.search(r"^ *\+ +name: Renamed DAC$", said, re.MULTILINE)
    platform.apply()
    after = platform.last_session("ada")
    assert uid(platform, "ada") == pod
    assert (after["session_id"], after["ended_at"]) == (before["session_id"], None)
    assert "Renamed DAC" in platform.dachub("config", "show", "--json")


def test_an_upgrade_that_cannot_work_goes_back_by_itself(platform: Installed, ada: Visitor) -> None:
    before, pod = platform.last_session("ada"), uid(platform, "ada")
    good = platform.settings["cluster"]["images"]["tag"]
    platform.settings["cluster"]["images"]["tag"] = "there-is-no-such-tag"
    try:
        said = platform.deploy("apply", "--yes", fails=True)
    finally:
        platform.settings["cluster"]["images"]["tag"] = good
    assert "is what it was before" in said
    assert uid(platform, "ada") == pod
    assert platform.last_session("ada")["session_id"] == before["session_id"]
    platform.open()  # the proxy may have been replaced on the way


def test_rolling_back_brings_back_what_ran_before(platform: Installed, ada: Visitor) -> None:
    pod = uid(platform, "ada")
    platform.deploy("rollback", "--yes")
    platform.open()
    assert "Renamed DAC" not in platform.dachub("config", "show", "--json")
    assert uid(platform, "ada") == pod


def test_at_the_end_every_second_of_every_session_is_right(
    platform: Installed, ada: Visitor
) -> None:
    ada.stop()
    ada.wait_until_stopped(seconds=90)
    is_exact(platform.wait_until_ended("ada"))
    assert "agree" in platform.dachub("usage", "check")
    sessions = platform.sessions()
    assert len({one["session_id"] for one in sessions}) == len(sessions)
