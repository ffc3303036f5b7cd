"""Two instances of one file side by side: what becomes of one is nothing to the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.k8s.installed import Installed, running
from tests.k8s.test_platform import started

MAIN, DEV = "dachub-test-main", "dachub-test-dev"
pytestmark = pytest.mark.timeout(1200)
KINDS = ("pods", "secrets", "configmaps", "persistentvolumeclaims")
SYNTHETIC = {"people": 5, "groups": 2, "weeks": 2}


@pytest.fixture(scope="module")
def instances() -> Iterator[tuple[Installed, Installed]]:
    dev = Installed(DEV, instance="dev")
    differences = {
        "site": {"name": "Test DAC (development)"},
        "listen": {"public_url": dev.url},
        "cluster": {"namespace": DEV},
        "synthetic": SYNTHETIC,
    }
    main = Installed(MAIN, {"cluster": {"replicas": 1}, "instances": {"dev": differences}})
    dev.settings = main.settings
    with running(main), running(dev):
        yield main, dev


def uids(platform: Installed) -> dict[str, str]:
    """What is in the namespace: a thing that was made anew has another uid."""
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["uid"]
        for one in platform.here.get(",".join(KINDS))["items"]
    }


def test_pis_of_an_instance_see_what_made_up_people_did(
    instances: tuple[Installed, Installed],
) -> None:
    main, dev = instances
    pi = dev.visitor("synthetic-000", dev.secret("synthetic-password"))
    page = pi.http.get("/services/dac/groups/synthetic-00").text
    assert "instance “dev”" in page
    assert {one["username"] for one in dev.sessions()} <= {
        f"synthetic-{number:03d}" for number in range(SYNTHETIC["people"])
    }
    assert len(dev.sessions()) > 10
    assert "agree" in dev.dachub("usage", "check")
    assert "synthetic" not in main.dachub("user", "list")
    assert not main.sessions()


def test_a_reset_of_one_takes_nothing_from_the_other(
    instances: tuple[Installed, Installed],
) -> None:
    main, dev = instances
    main.dachub("group", "add", "campaign", "--title", "Campaign")
    started(main, "ada")
    dev.person("zoe")
    password, before = dev.secret("synthetic-password"), uids(main)
    ours = uids(dev)
    refused = main.deploy("reset", "--namespace", MAIN, fails=True)
    assert "Only an instance can be reset" in refused
    dev.deploy("reset", "--namespace", DEV)
    dev.open()
    assert ours.items().isdisjoint(
        (name, uid) for name, uid in uids(dev).items() if not name.startswith("ConfigMap/kube-root")
    )
    assert "zoe" not in dev.dachub("user", "list")
    assert dev.secret("synthetic-password") != password
    dev.visitor("synthetic-001", dev.secret("synthetic-password"))
    assert len(dev.sessions()) > 10
    assert uids(main) == before
    assert main.last_session("ada")["state"] == "running"
    main.visitor("ada").stop()
    assert main.wait_until_ended("ada")["end_reason"] == "stopped"
