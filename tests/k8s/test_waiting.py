"""Who waits for a machine sees in the browser what the cluster said, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.harness.browser import NARROW, Visit, overflows, screenshot
from tests.harness.waiting import until
from tests.k8s.installed import PASSWORD, Installed

pytestmark = pytest.mark.browser
ORDERED_BEFORE_SECONDS = 62
NEW_MACHINE = re.compile(r"Starting a new machine, usually 4 minutes \(.+ so far\)")


def signed_in(platform: Installed, visit: Visit, username: str, **options: Any) -> Page:
    """Somebody in a browser."""
    page = visit(f"{platform.url}/hub/login", **options)
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/hub/login" not in url)
    return page


def see_start(platform: Installed, page: Page, username: str) -> None:
    """Open the page of a server that starts."""
    page.goto(f"{platform.url}/hub/spawn-pending/{username}")


def say(platform: Installed, username: str, reason: str, message: str) -> None:
    """Say of somebody's pod what an autoscaler says, a while ago."""
    pod = platform.pod(username)["metadata"]
    moment = datetime.now(UTC) - timedelta(seconds=ORDERED_BEFORE_SECONDS)
    at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod['name']}."},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": platform.here.name,
            "name": pod["name"],
            "uid": pod["uid"],
        },
        "reason": reason,
        "message": message,
        "type": "Normal",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": "autoscaler"},
    }
    platform.here.do("create", "--filename=-", given=[event])


@pytest.mark.parametrize(
    ("username", "reason", "message"),
    [
        ("fay", "TriggeredScaleUp", "pod triggered scale-up: [{users 2->3 (max: 9)}]"),
        ("gus", "Nominated", "Pod should schedule on: nodeclaim/users-x7k2p"),
    ],
)
def test_who_waits_for_a_machine_is_told_so_and_may_give_up(
    platform: Installed, visit: Visit, username: str, reason: str, message: str
) -> None:
    person = platform.person(username, "campaign")
    person.start(group="campaign", size="huge").raise_for_status()
    page = signed_in(platform, visit, username)
    see_start(platform, page, username)
    told = page.get_by_role("status")
    expect(told).to_contain_text("All machines are full, and the cluster has not begun to add one")
    say(platform, username, reason, message)
    expect(told).to_have_text(NEW_MACHINE)
    page.get_by_text("What happened so far").click()
    expect(page.get_by_role("listitem").filter(has_text="Starting a new machine")).to_have_count(1)
    screenshot(page, f"k8s-new-machine-{reason}")
    narrow = signed_in(platform, visit, username, width=NARROW)
    see_start(platform, narrow, username)
    expect(narrow.get_by_role("status")).to_contain_text("Starting a new machine")
    assert not overflows(narrow)
    screenshot(narrow, f"k8s-new-machine-{reason}")
    page.get_by_role("button", name="Do not start it").click()
    page.wait_for_url("**/hub/home")
    person.wait_until_stopped()
    until(
        lambda: platform.here.kubectl("get", "pod", platform.pod_name(username)).returncode != 0,
        "nothing waits for a machine any more",
    )
    assert not any(one["started_at"] for one in platform.sessions(username))
