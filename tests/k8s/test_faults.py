"""Parts of the platform die on the cluster: servers go on, no second is lost or counted twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import Installed, finished_at, installed, moment, pause

START_SECONDS = 180
BACK_SECONDS = 240
SERVER_MILLI_CORES = 200
WATCHED_SECONDS = 45
"""What is being watched is told for so long although no new question is answered."""
HEARD_SECONDS = 15
"""A hub that is busy, on a cluster that is, hears so late of what happened."""
GIVES_UP_SECONDS = 75
"""After so long KubeSpawner itself asks no more."""
KILL = """
import os, pathlib, signal, sys
for found in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if f"DACHUB_SESSION={sys.argv[1]}".encode() in found.read_bytes().split(b"\\0"):
            os.kill(int(found.parent.name), signal.SIGKILL)
    except OSError:
        pass  # it has ended meanwhile
"""
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


def kill_processes(platform: Installed, username: str) -> None:
    """Kill all of somebody's server from outside, as a machine short of memory does."""
    session = platform.pod(username)["metadata"]["labels"]["dachub/session"]
    killing = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"killing-{username}"},
        "spec": {
            "hostPID": True,
            "restartPolicy": "Never",
            "nodeName": platform.pod(username)["spec"]["nodeName"],
            "containers": [
                {
                    "name": "killing",
                    "image": platform.pod(username)["spec"]["containers"][0]["image"],
                    "command": ["python", "-c", KILL, session],
                    "securityContext": {"runAsUser": 0, "privileged": True},
                }
            ],
        },
    }
    platform.here.do("create", "--filename=-", given=[killing])
    done = "--for=jsonpath={.status.phase}=Succeeded"
    platform.here.do("wait", done, "pod", f"killing-{username}", "--timeout=60s")


def has_ended(platform: Installed, username: str) -> bool:
    return "terminated" in platform.pod(username)["status"]["containerStatuses"][0]["state"]


def bare(found: dict[str, Any]) -> dict[str, Any]:
    """An object without what the cluster added, to be made anew."""
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        found["metadata"].pop(field, None)
    return found


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


def test_a_server_whose_processes_are_killed_ends_at_that_second(platform: Installed) -> None:
    working(platform, "hal")
    before = datetime.now(UTC).replace(microsecond=0)
    kill_processes(platform, "hal")
    session = platform.wait_until_ended("hal")
    assert before <= moment(session["ended_at"]) <= datetime.now(UTC)
    assert (session["end_reason"], session["end_is_estimate"]) == ("exited", False)
    is_exact(session)


def test_a_pod_that_is_taken_away_by_force_ends_when_it_is_taken_away(platform: Installed) -> None:
    ida = working(platform, "ida")
    pause(5)
    before = datetime.now(UTC).replace(microsecond=0)
    platform.here.do("delete", "pod", "jupyter-ida", "--grace-period=0", "--force", "--wait=false")
    session = platform.wait_until_ended("ida")
    assert session["end_is_estimate"]
    assert 0 <= (moment(session["ended_at"]) - before).total_seconds() <= HEARD_SECONDS
    is_exact(session)
    ida.start(group="campaign", size="tiny").raise_for_status()
    ida.wait_until_started(seconds=START_SECONDS)
    assert [one["ended_at"] is None for one in platform.sessions("ida")] == [False, True]


def test_what_happens_while_the_hub_has_no_way_to_the_cluster_is_known_afterwards(
    platform: Installed, ada: Visitor
) -> None:
    """For longer than KubeSpawner itself goes on asking."""
    for username in ("jan", "kim"):
        working(platform, username)
    before = platform.last_session("ada")
    own = bare(platform.here.get("rolebinding", "hub"))
    platform.here.do("delete", "rolebinding", "hub")
    cut_at = datetime.now(UTC)
    try:
        pause(WATCHED_SECONDS)
        kill_processes(platform, "jan")
        until(lambda: has_ended(platform, "jan"), "the server of jan has ended", 60)
        ended_at = finished_at(platform.pod("jan"))
        platform.here.do("delete", "pod", "jupyter-kim", "--grace-period=0", "--force")
        pause(GIVES_UP_SECONDS)
        assert platform.last_session("jan")["ended_at"] is None
    finally:
        platform.here.do("apply", "--filename=-", given=[own])
    session = platform.wait_until_ended("jan", seconds=BACK_SECONDS)
    assert (moment(session["ended_at"]), session["end_is_estimate"]) == (ended_at, False)
    is_exact(session)
    session = platform.wait_until_ended("kim", seconds=BACK_SECONDS)
    assert session["end_reason"] == "exited"
    assert session["end_is_estimate"]  # and no longer than the cluster had vouched for it
    assert (moment(session["ended_at"]) - cut_at).total_seconds() <= WATCHED_SECONDS
    is_exact(session)
    after = platform.last_session("ada")
    assert (after["session_id"], after["ended_at"]) == (before["session_id"], None)


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
    own = bare(platform.here.get("networkpolicy", "dachub-postgres"))
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
