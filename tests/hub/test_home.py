"""The hub's own first page: what presses is told there too, and never waited for."""

from __future__ import annotations

import re

import pytest
from tests.harness.fake_service import FakeService
from tests.hub.running import RunningHub

from dachub.hub.bar import links

pytestmark = pytest.mark.hub
TOLD = "Your server 'default' was stopped at 14:02 UTC. Your files are as they were <b>."


def test_the_home_page_tells_what_presses_under_the_bar_of_all_pages(
    hub: RunningHub, service: FakeService
) -> None:
    service.notices = [TOLD]
    ada = hub.browser()
    ada.sign_in("ada")
    page = ada.client.get("/hub/home").text
    assert "was stopped at 14:02 UTC" in page
    assert "<b>." not in page
    assert re.findall(r'class="nav-link"[^>]*>([^<]+)<', page) == [
        link.text for link in links(administers=False)
    ]
    assert re.findall(r'aria-current="page">([^<]+)<', page) == ["My server"]
    service.notices = []
    assert "alert-warning" not in ada.client.get("/hub/home").text


def test_the_home_page_comes_without_a_service_that_is_away(
    hub: RunningHub, service: FakeService
) -> None:
    service.notices = [TOLD]
    ada = hub.browser()
    ada.sign_in("ada")
    for fault in ("down", "hang"):
        setattr(service, fault, True)
        page = ada.client.get("/hub/home")
        setattr(service, fault, False)
        assert page.status_code == 200
        assert "Start" in page.text
        assert "was stopped" not in page.text
