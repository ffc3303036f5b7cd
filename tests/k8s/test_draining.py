"""A machine taken out of service: notice, killed meanwhile, taken back, and in earnest."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.cluster import REGISTRY, TAG, require_cluster
from tests.harness.machine import machines, placed_on
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed

GIVEN = os.environ.get("DACHUB_TEST_NODE", "")
"""A machine of the cluster that is there for this test; else one is played."""
GROUP = "dachub-draining"
MACHINE = GIVEN or f"{GROUP}-0"
START_SECONDS = 240
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform whose servers run on that machine alone; its own parts are elsewhere."""
    require_cluster()
    servers = placed_on(GROUP)
    if GIVEN:
        servers["nodeSelector"] = {"kubernetes.io/hostname": GIVEN}
        servers["extraTolerations"] = [{"operator": "Exists"}]
    settings = {"cluster": {"hub": {"values": {"singleuser": servers}}}}
    played = [] if GIVEN else [MACHINE]
    with (
        machines(*played, group=GROUP, milli_cores=2000),
        installed("dachub-draining", settings) as running,
    ):
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running


def notices(platform: Installed, username: str) -> list[str]:
    """Titles of what somebody was told of maintenance, the earliest first."""
    found = platform.visitor(username).service("GET", "/me/notices").json()["notices"]
    return [one["title"] for one in reversed(found) if one["kind"] == "maintenance"]


def stops(platform: Installed) -> set[tuple[str | None, bool]]:
    """Why each session is to be stopped, and whether it has ended."""
    return {(one["stop_due_reason"], one["ended_at"] is not None) for one in platform.sessions()}


def is_closed(platform: Installed) -> bool:
    node: dict[str, Any] = json.loads(platform.here.do("get", "node", MACHINE, "--output=json"))
    return bool(node["spec"].get("unschedulable"))


def test_people_are_told_the_command_may_die_be_taken_back_and_waits_until_all_have_gone(
    platform: Installed,
) -> None:
    for username in ("ada", "bert"):
        person = platform.person(username, "campaign")
        person.start(group="campaign", size="tiny").raise_for_status()
        person.wait_until_started(seconds=START_SECONDS)
        assert platform.pod(username)["spec"]["nodeName"] == MACHINE
    words = ("drain", MACHINE, "--within", "1h", "--because", "new disks")
    with subprocess.Popen(platform.command(*words), stdout=subprocess.PIPE, text=True) as draining:
        assert draining.stdout is not None
        line = "..."
        while line and "waiting for 2 servers; 2 people were told" not in line:
            line = draining.stdout.readline()
        draining.kill()
    assert is_closed(platform)
    assert stops(platform) == {("maintenance", False)}
    [told] = notices(platform, "ada")
    assert "will be stopped on" in told

    assert "the notice of 2 servers is withdrawn" in platform.deploy("undrain", MACHINE)
    assert not is_closed(platform)
    assert stops(platform) == {(None, False)}
    assert notices(platform, "bert")[1:] == ["Your server 'default' goes on"]

    before = platform.here.all_names("pods")
    said = platform.deploy("drain", MACHINE, "--within", "20s")
    assert f"{MACHINE} is empty: the machine can be taken away" in said
    assert before - platform.here.all_names("pods") == {"pod/jupyter-ada", "pod/jupyter-bert"}
    for username in ("ada", "bert"):
        session = platform.wait_until_ended(username)
        assert session["end_reason"] == "maintenance"
        assert session["ended_at"] >= session["stop_due_at"]
        until(
            lambda username=username: "was stopped at" in notices(platform, username)[-1],
            f"{username} was told of the stop",
            60,
            pause_seconds=1,
        )
    platform.deploy("undrain", MACHINE)
    assert "was not drained by dachub" in platform.deploy("undrain", MACHINE, fails=True)


def test_what_else_is_there_is_evicted_at_the_end_and_only_if_that_is_wanted(
    platform: Installed,
) -> None:
    place(platform, "other")
    said = platform.deploy("drain", MACHINE, "--within", "0s")
    assert f"{MACHINE}: 1 other pod is on it; to evict what is left: kubectl drain" in said
    assert "can be taken away" not in said
    assert others(platform) == {"other"}
    said = platform.deploy("drain", MACHINE, "--drain")
    assert f"{MACHINE}: evicting 1 other pod, as disruption budgets allow" in said
    assert f"{MACHINE} is empty: the machine can be taken away" in said
    until(lambda: not others(platform), "what was there is gone", 60)
    platform.deploy("undrain", MACHINE)


def place(platform: Installed, name: str) -> None:
    """Put something there that is nobody's server, and is made anew elsewhere."""
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": "main",
        "image": f"{REGISTRY}/dachub-notebook:{TAG}",
        "command": ["python", "-c", "import signal; signal.pause()"],
    }
    singleuser = platform.settings["cluster"]["hub"]["values"]["singleuser"]
    pod = {
        "nodeSelector": singleuser["nodeSelector"],
        "tolerations": singleuser["extraTolerations"],
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    platform.here.do("apply", "--filename=-", given=[deployment])
    platform.here.do("rollout", "status", f"deployment/{name}", "--timeout=60s")


def others(platform: Installed) -> set[str]:
    """What is on the machine that is nobody's server."""
    where = f"--field-selector=spec.nodeName={MACHINE}"
    pods = platform.here.get("pods", "--selector=component!=singleuser-server", where)["items"]
    return {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods}
