"""One bar for the hub's pages and the portal's: the same words in the same order."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader

from dachub.hub.bar import LINKS, links, place_of
from dachub.hub.form import TEMPLATES
from dachub.hub.settings import SiteSettings

WORDS = ["My server", "My usage", "My storage", "Groups", "Notices", "Tokens", "Administration"]


def bar(**of_the_page: Any) -> str:
    """The bar as the hub renders it."""
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    site = SiteSettings(name="Survey DAC", help_url="https://help.example.org/")
    return templates.get_template("bar.html").render(site=site, root="/", **of_the_page)


def words(html: str) -> list[str]:
    return re.findall(r'class="nav-link"[^>]*>([^<]+)<', html)


@pytest.mark.parametrize(("administers", "shown"), [(True, WORDS), (False, WORDS[:-1])])
def test_people_find_the_words_in_one_order(administers: bool, shown: list[str]) -> None:
    html = bar(name="ada", bar=links(administers=administers), log_out="/hub/logout")
    assert words(html) == [*shown, "Help"]


def test_nobody_who_is_not_signed_in_sees_links() -> None:
    assert words(bar(name="", bar=[])) == []


def test_the_page_that_is_shown_is_marked() -> None:
    html = bar(name="ada", bar=links(administers=False), place=place_of("/services/dac/groups/x"))
    assert re.findall(r'aria-current="page">(\w+)', html) == ["Groups"]
    assert place_of("/services/dac/") == "services/dac/"
    assert place_of("/services/dac/password") == ""
    assert {place_of(f"/{link.path}") for link in LINKS} == {link.path for link in LINKS}
