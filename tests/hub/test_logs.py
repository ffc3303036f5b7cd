"""What the hub and the service log of one request can be found by its id."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import TOKEN, RunningHub

from dachub.hub.logs import begin_request, end_request, request_id
from dachub.hub.service import Service

CLUSTER_HUB = """
import logging
from jupyterhub.app import JupyterHub
from traitlets.config import Config
from dachub.hub import configuration
from dachub.hub.settings import HubSettings, PodSettings

c = Config()
settings = HubSettings(
    state_directory="/none", service_url="http://dachub", public_url="http://x", pods=PodSettings()
)
configuration._logs(c, settings)
hub = JupyterHub(config=c)
hub.init_logging()
hub.log.info("of the hub")
logging.getLogger("dachub.hub.people").info("of ours")
logging.getLogger("alembic").warning("of a library")
try:
    raise ValueError("inner")
except ValueError:
    hub.log.exception("failed with token=abcdefghijklmnop")
"""


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[Service]:
    client = Service(service.url, TOKEN)
    end_request()
    yield client
    end_request()
    await client.close()


async def test_a_call_carries_the_id_of_the_request_being_served(
    client: Service, service: FakeService
) -> None:
    current = begin_request()
    await client.start_options("ada")
    await client.local_accounts(None)
    assert service.request_ids == [current, current]


async def test_a_call_of_no_request_gets_an_id_that_is_logged_too(
    client: Service, service: FakeService
) -> None:
    await client.start_options("ada")
    assert service.request_ids == [request_id.get()]
    end_request()
    await client.start_options("ada")
    assert service.request_ids[1] == request_id.get() != service.request_ids[0]


@pytest.mark.hub
def test_the_ids_stand_in_the_log_of_the_hub(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    service.fail_on = {"start-options": 500, '"events"': 500}
    seen = len(service.request_ids)
    ada.client.get("/hub/spawn")
    line = until(
        lambda: next(
            (one for one in hub.json_log() if "start page of ada" in one["message"]), None
        ),
        "the failure is logged",
    )
    assert line["http.request.id"] in service.request_ids[seen:]
    # What the hub does of itself has ids as well, a new one for each attempt.
    ada.spawn(group="virgo", size="tiny")
    attempts = until(
        lambda: [one for one in hub.json_log() if one["log.logger"] == "dachub.hub.delivery"],
        "a failed delivery is logged",
    )
    assert attempts[0]["http.request.id"] in service.request_ids
    assert attempts[0]["http.request.id"] != line["http.request.id"]
    until(
        lambda: service.deliveries == 0 and len(set(service.request_ids[seen:])) > 3, "tried anew"
    )


def test_on_a_cluster_all_that_the_hub_says_is_json() -> None:
    """In a process of its own: what JupyterHub does to logging is for good."""
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER_HUB], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert [line["message"] for line in lines] == [
        "of the hub",
        "of ours",
        "of a library",
        "failed with token=[hidden]",
    ]
    assert {line["event.dataset"] for line in lines} == {"dachub.hub"}
    assert "ValueError: inner" in lines[3]["error.stack_trace"]
