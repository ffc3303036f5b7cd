"""One platform for all tests that only use it; those that break parts of it have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.browser import browser, visit
from tests.k8s.installed import Installed, installed

__all__ = ["browser", "visit"]


@pytest.fixture(scope="session")
def platform() -> Iterator[Installed]:
    """The platform, installed once."""
    with installed("dachub-test") as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running
