"""Versions of environments, from the start page to the ledger, with a real hub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import RunningHub

from dachub.model.software import Environment, EnvironmentVersion

pytestmark = pytest.mark.hub

PYTHON = "/usr/bin/python3"
TODAY = datetime.now(UTC).date()
ASTRONOMY = Environment(
    name="astronomy",
    title="Astronomy",
    description="astropy",
    versions=(
        EnvironmentVersion(name="2026-11-23", interpreter=PYTHON),
        EnvironmentVersion(name="2026-11-20", interpreter=PYTHON),
        EnvironmentVersion(
            name="2026-06-01", interpreter=PYTHON, retired_on=TODAY + timedelta(days=9)
        ),
        EnvironmentVersion(name="2025-12-01", interpreter=PYTHON, retired_on=TODAY),
    ),
    aliases={"recommended": "2026-11-20", "weekly": "2026-11-23"},
)


def test_people_choose_a_version_and_it_is_what_is_accounted(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(environments=(ASTRONOMY,))
    ada = hub.browser()
    ada.sign_in("ada")
    page = ada.client.get("/hub/spawn").text
    assert "Astronomy (recommended)" in page
    assert "2026-11-23, weekly" in page
    assert "no server starts with it from" in page
    assert "2025-12-01" not in page
    refused = ada.api(
        "POST", "/users/ada/server", {"group": "virgo", "environment": "astronomy:2025-12-01"}
    )
    assert refused.status_code == 403
    assert "Start with 'astronomy:2026-11-20' instead" in refused.json()["message"]
    brought = ada.api("POST", "/users/ada/server", {"image": "quay.io/team/tools:1"})
    assert brought.status_code == 403
    assert "may not bring images" in brought.json()["message"]
    ada.spawn(group="virgo", size="tiny", environment="astronomy:weekly", image="ignored")
    until(lambda: len(service.events) == 2, "requested and started")
    assert {event.session.environment for event in service.events.values()} == {
        "astronomy:2026-11-23"
    }
