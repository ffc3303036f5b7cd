"""One platform for all tests that only use it; those that break parts of it have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.browser import browser, visit
from tests.k8s.installed import HUB_CHART, HUB_IMAGE, STAND_IN, Installed, installed

__all__ = ["browser", "visit"]


def pytest_report_header() -> str:
    """Say once what plays the hub."""
    if str(STAND_IN) == HUB_CHART:
        return "hub: our stand-in, since Z2JH_CHART names no Zero to JupyterHub"
    return f"hub: Zero to JupyterHub of {HUB_CHART}"


@pytest.fixture(scope="session")
def platform() -> Iterator[Installed]:
    """The platform, installed once."""
    with installed(f"dachub-test-{HUB_IMAGE}") as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running
