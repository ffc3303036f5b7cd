"""The whole platform, once for a module: start it as a person would, end it whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.browser import browser, visit
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor

__all__ = ["browser", "visit"]


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A platform with everything as it comes."""
    with Platform() as running:
        yield running


@pytest.fixture
def admin(platform: Platform) -> Iterator[Visitor]:
    """The first administrator, logged in with the first password."""
    with Visitor(platform.url, platform.admin_name(), platform.admin_password()) as visitor:
        visitor.login()
        assert visitor.is_logged_in()
        yield visitor
        if visitor.servers():
            visitor.stop()
            visitor.wait_until_stopped()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the platform said when a test fails."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Platform):
                report.sections.append(("what the platform said", value.log()))
