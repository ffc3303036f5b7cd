"""A machine taken out of service: notice, killed meanwhile, taken back, and in earnest."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.cluster import require_cluster
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed

MACHINE = os.environ.get("DACHUB_TEST_NODE", "")
"""A machine of the cluster that is there for this test, simulated or real."""
START_SECONDS = 240


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform whose servers run on that machine alone; its own parts are elsewhere."""
    require_cluster()
    if not MACHINE:
        pytest.skip("this test takes a machine out of service: name it in DACHUB_TEST_NODE")
    servers = {
        "storage": {"type": "none"},
        "nodeSelector": {"kubernetes.io/hostname": MACHINE},
        "extraTolerations": [{"operator": "Exists"}],
    }
    settings = {"cluster": {"hub": {"values": {"singleuser": servers}}}}
    with installed("dachub-draining", settings) as running:
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
        while line and "told: 2, of 2 people" not in line:
            line = draining.stdout.readline()
        draining.kill()
    assert is_closed(platform)
    assert stops(platform) == {("maintenance", False)}
    [told] = notices(platform, "ada")
    assert "will be stopped on" in told

    assert "2 that were to be stopped go on" in platform.deploy("undrain", MACHINE)
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
