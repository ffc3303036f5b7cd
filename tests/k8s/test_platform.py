"""People on the cluster: they sign in, work in pods, and the ledger has each second of it."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import expect
from tests.harness.browser import Visit, screenshot
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import PASSWORD, Installed, finished_at, moment

LAB_SECONDS = 180
REACH = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(target)
    except OSError:
        pass
"""


def started(platform: Installed, username: str, group: str = "campaign", **choice: str) -> Visitor:
    """Somebody new with a running server."""
    person = platform.person(username, group)
    answer = person.start(**{"group": group, "size": "tiny", **choice})
    assert answer.status_code in {201, 202}, answer.text
    person.wait_until_started(seconds=LAB_SECONDS)
    return person


@pytest.mark.browser
def test_a_person_signs_in_chooses_and_works_in_a_pod(platform: Installed, visit: Visit) -> None:
    platform.person("ada", "campaign")
    page = visit(f"{platform.url}/hub/login")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/hub/login" not in url)
    page.goto(f"{platform.url}/hub/spawn")
    page.get_by_label("Small").check()
    screenshot(page, "k8s-start")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/spawn-pending/**")
    screenshot(page, "k8s-pending")
    page.wait_for_url("**/user/ada/lab**", timeout=LAB_SECONDS * 1000)
    page.locator("#jp-main-dock-panel").wait_for(timeout=LAB_SECONDS * 1000)
    screenshot(page, "k8s-lab")
    said = platform.here.do(
        *("exec", "jupyter-ada", "--", "python", "-c", WHO),
    )
    assert said.split() == ["ada", "campaign"]
    page.goto(f"{platform.url}/services/dac/")
    expect(page.get_by_text("campaign").first).to_be_visible()
    screenshot(page, "k8s-portal")
    pod = platform.pod("ada")
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "400m", "memory": "536870912"}
    assert pod["metadata"]["labels"]["dachub/session"] == platform.last_session("ada")["session_id"]
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    visitor = platform.visitor("ada")
    visitor.stop()
    visitor.wait_until_stopped(seconds=90)
    session = platform.wait_until_ended("ada")
    seconds = (moment(session["ended_at"]) - moment(session["started_at"])).total_seconds()
    assert session["end_reason"] == "stopped"
    assert not session["end_is_estimate"]
    assert session["core_seconds"] == pytest.approx(0.4 * seconds)


def test_a_group_that_is_not_ones_own_is_refused_and_the_person_told_why(
    platform: Installed,
) -> None:
    platform.dachub("group", "add", "others", "--title", "Others")
    eve = platform.person("eve", "others")
    eve.start(group="campaign", size="tiny").raise_for_status()  # the answer comes while it waits
    events = eve.api("GET", "/users/eve/server/progress").text
    told = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
    assert told[-1]["failed"]
    assert "You are not a member of the group 'campaign'" in told[-1]["message"]
    assert platform.here.kubectl("get", "pod", "jupyter-eve").returncode != 0
    assert not platform.sessions("eve")


def test_a_server_that_dies_ends_its_session_at_that_second(platform: Installed) -> None:
    started(platform, "bert")
    platform.here.kubectl("exec", "jupyter-bert", "--", "python", "-c", KILL_SERVER)
    died: dict[str, object] = {}

    def is_dead() -> bool:
        found = platform.here.kubectl("get", "pod", "jupyter-bert", "--output=json")
        if found.returncode != 0:
            return True
        pod = json.loads(found.stdout)
        if "terminated" in pod["status"]["containerStatuses"][0]["state"]:
            died["at"] = finished_at(pod)
        return False

    until(is_dead, "the pod of a server that died is removed", 60, pause_seconds=0.1)
    session = platform.wait_until_ended("bert")
    assert session["end_reason"] == "exited"
    assert not session["end_is_estimate"]
    if "at" in died:
        assert moment(session["ended_at"]) == died["at"]


WHO = "from dachub import DAC; dac = DAC(); print(dac.me.username, *[g.slug for g in dac.groups])"
KILL_SERVER = "import os, signal; os.kill(1, signal.SIGTERM)"


def test_a_pod_that_is_deleted_behind_the_hubs_back_costs_no_second_more(
    platform: Installed,
) -> None:
    started(platform, "cleo")
    before = moment(platform.last_session("cleo")["started_at"])
    platform.here.do("delete", "pod", "jupyter-cleo", "--grace-period=1")
    session = platform.wait_until_ended("cleo")
    ended = moment(session["ended_at"])
    assert before <= ended
    seconds = (ended - before).total_seconds()
    assert session["core_seconds"] == pytest.approx(0.2 * seconds)
    started_again = platform.visitor("cleo").start(group="campaign", size="tiny")
    assert started_again.status_code in {201, 202}, started_again.text


def test_a_servers_pod_reaches_what_it_may_and_nothing_else(platform: Installed) -> None:
    started(platform, "dora")
    other = platform.here.get("pod", "--selector=component=hub")["items"][0]["status"]["podIP"]
    api = "kubernetes.default.svc"
    allowed = ["dachub:80", "hub:8081"]
    forbidden = ["dachub-postgres:5432", f"{api}:443", "proxy-api:8001", f"{other}:22"]
    said = platform.here.do(
        *("exec", "jupyter-dora", "--", "python", "-c", REACH), *allowed, *forbidden
    )
    assert said.split() == allowed
    token = platform.here.kubectl(
        "exec", "jupyter-dora", "--", "ls", "/var/run/secrets/kubernetes.io"
    )
    assert token.returncode != 0


def test_sums_of_the_ledger_are_those_of_its_segments(platform: Installed) -> None:
    assert "agree" in platform.dachub("usage", "check")
    sessions = [one for one in platform.sessions() if one["started_at"]]
    assert sessions
    for one in sessions:
        if one["ended_at"] is None:
            continue
        lasted = moment(one["ended_at"]) - moment(one["started_at"])
        assert one["core_seconds"] == pytest.approx(
            one["milli_cores"] / 1000 * (lasted / timedelta(seconds=1))
        )


def test_the_portal_is_open_to_a_token_of_a_server_only_for_its_owner(platform: Installed) -> None:
    pod = platform.pod("dora")
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    answer = httpx.get(
        f"{platform.url}/services/dac/api/v1/me",
        headers={"Authorization": f"token {env['JUPYTERHUB_API_TOKEN']}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["username"] == "dora"
