"""Homes on one shared file system: group folders, measuring, and rescue where it is full."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.harness.cluster import Namespace
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed

START_SECONDS = 180
CLAIM = "shared"
# One machine is enough for these tests, so a volume that only one machine may mount is too.
SHARED = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": CLAIM},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
SETTINGS = {
    "storage": {"every_seconds": 60},
    "cluster": {"homes": {"kind": "shared", "claim": CLAIM}},
}


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform with one file system for all homes."""
    with installed("dachub-homes", SETTINGS, first=make_claim) as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running


def make_claim(here: Namespace) -> None:
    here.do("create", "--filename=-", given=[SHARED])


def working(platform: Installed, username: str) -> Visitor:
    person = platform.person(username, "campaign")
    person.start(group="campaign", size="tiny").raise_for_status()
    person.wait_until_started(seconds=START_SECONDS)
    return person


def inside(platform: Installed, username: str, *command: str) -> str:
    return platform.here.do("exec", f"jupyter-{username}", "--", *command)


def test_members_share_their_groups_folder_and_nothing_else(platform: Installed) -> None:
    for username in ("ada", "bob"):
        working(platform, username)
    inside(platform, "ada", "sh", "-c", "echo shared > ~/groups/campaign/note; echo own > ~/own")
    assert inside(platform, "bob", "cat", "/home/jovyan/groups/campaign/note") == "shared\n"
    seen = inside(
        platform, "bob", "sh", "-c", "ls -A ~ /groups; grep -rl own /home /groups || true"
    )
    assert "own" not in seen.split()
    assert "/home/jovyan/own" not in seen


def test_what_people_keep_is_measured_beside_the_storage(platform: Installed) -> None:
    inside(platform, "ada", "sh", "-c", "head -c 3000000 /dev/zero > ~/three-megabytes")

    def measured() -> bool:
        places = json.loads(platform.dachub("storage", "list", "--json"))
        return any(
            one["sample"] is not None and one["sample"]["allocated_bytes"] >= 3_000_000
            for one in places
            if one["owner"] == "ada"
        )

    until(measured, "the home of ada was measured", 240, pause_seconds=3)


def test_a_home_without_room_starts_a_rescue_session_by_itself(platform: Installed) -> None:
    platform.settings["servers"]["rescue"] = {"free_bytes_min": 2**60, "limit_seconds": 600}
    platform.apply()
    carl = platform.person("carl", "campaign")
    carl.start(group="campaign", size="tiny").raise_for_status()
    carl.wait_until_started(seconds=START_SECONDS)
    first, second = platform.sessions("carl")
    assert (first["end_reason"], first["core_seconds"]) == ("failed", 0)
    assert second["size"] == "rescue"
    assert second["ended_at"] is None
    page = carl.http.get("/user/carl/dachub/rescue")
    assert page.status_code == 200
    assert "Your home directory is full" in page.text
