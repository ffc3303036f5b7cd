"""Who may see which page."""

from __future__ import annotations

import pytest
from tests.portal.conftest import HUB_TOKEN, Portal

RUNNING = "{running}"
PAGES = {
    # page: anonymous, loner, member, manager, pi, other group's member, administrator, disabled
    "/": (302, 200, 200, 200, 200, 200, 200, 403),
    "/plots/days.json": (302, 200, 200, 200, 200, 200, 200, 403),
    "/groups": (302, 200, 200, 200, 200, 200, 200, 403),
    "/groups/lenses": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/plots/days.json": (302, 404, 200, 200, 200, 404, 200, 403),
    "/usage.csv": (302, 200, 200, 200, 200, 200, 200, 403),
    "/sessions.parquet": (302, 200, 200, 200, 200, 200, 200, 403),
    "/groups/lenses/usage.csv": (302, 403, 200, 200, 200, 403, 200, 403),
    "/groups/lenses/sessions.parquet": (302, 403, 200, 200, 200, 403, 200, 403),
    "/groups/lenses/members/meg": (302, 403, 403, 200, 200, 403, 200, 403),
    "/groups/lenses/edit": (302, 403, 403, 403, 200, 403, 200, 403),
    "/groups/lenses/storage": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/storage/plot.json": (302, 403, 200, 200, 200, 403, 200, 403),
    "/groups/lenses/storage.csv": (302, 403, 200, 200, 200, 403, 200, 403),
    "/storage": (302, 200, 200, 200, 200, 200, 200, 403),
    "/storage/plot.json": (302, 200, 200, 200, 200, 200, 200, 403),
    "/storage.parquet": (302, 200, 200, 200, 200, 200, 200, 403),
    "/groups/lenses/members": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/sessions": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/allocations": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/requests": (302, 404, 200, 200, 200, 404, 200, 403),
    "/notices": (302, 200, 200, 200, 200, 200, 200, 403),
    "/sessions/{running}": (302, 404, 200, 200, 200, 404, 200, 403),
    "/groups/lenses/history": (302, 403, 403, 200, 200, 403, 200, 403),
    "/groups/lenses/members/meg/remove": (302, 403, 403, 200, 200, 403, 200, 403),
    "/groups/nothing": (302, 404, 404, 404, 404, 404, 404, 403),
    "/password": (302, 200, 200, 200, 200, 200, 200, 403),
    "/sessions/{running}/stop": (302, 404, 200, 403, 403, 404, 200, 403),
    "/sessions/00000000-0000-0000-0000-00000000ffff/stop": (
        302, 404, 404, 404, 404, 404, 404, 403,
    ),
    "/admin": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/storage": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/storage.csv": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people/meg/plots/days.json": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people/meg/usage.csv": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people/meg/sessions.parquet": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/usage": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/usage.parquet": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/sessions.csv": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/plots/usage.json": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people/meg": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/people/nobody": (302, 403, 403, 403, 403, 403, 404, 403),
    "/admin/groups": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/requests": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/servers": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/audit": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/reports": (302, 403, 403, 403, 403, 403, 200, 403),
    "/admin/report": (302, 403, 403, 403, 403, 403, 200, 403),
    "/my-data.zip": (302, 200, 200, 200, 200, 200, 200, 403),
    "/nothing-here": (404, 404, 404, 404, 404, 404, 404, 404),
}  # fmt: skip
NOTHING = (401, 403, 403, 403, 403, 403, 403, 403)
FORMS = {
    "/sessions/{running}/corrections": NOTHING,
    "/groups/lenses/edit": NOTHING,
    "/groups/lenses/members/meg/limit": NOTHING,
    "/groups/lenses/storage/limit": NOTHING,
    "/groups/lenses/series": NOTHING,
    "/groups/lenses/series/1/end": NOTHING,
    "/admin/people/meg/storage-limit": NOTHING,
    "/notices/read": NOTHING,
    "/notices/1/read": NOTHING,
    "/notices/preferences": NOTHING,
    "/groups/lenses/requests/1/withdraw": NOTHING,
    "/groups/lenses/requests/1/grant": NOTHING,
    "/groups/lenses/requests/1/decline": NOTHING,
    "/groups/lenses/requests": NOTHING,
    "/admin/requests/1/grant": NOTHING,
    "/admin/requests/1/decline": NOTHING,
    "/password": NOTHING,
    "/groups/lenses/members": NOTHING,
    "/groups/lenses/members/meg/remove": NOTHING,
    "/groups/lenses/allocations": NOTHING,
    "/groups/lenses/cores": NOTHING,
    "/groups/lenses/allocations/1/adjustments": NOTHING,
    "/sessions/{running}/stop": NOTHING,
    "/admin/people": NOTHING,
    "/admin/people/meg/disable": NOTHING,
    "/admin/people/meg/enable": NOTHING,
    "/admin/people/meg/forget": NOTHING,
    "/admin/people/meg/password": NOTHING,
    "/admin/groups": NOTHING,
    "/admin/servers": NOTHING,
}


def _visitors(portal: Portal) -> list[str | None]:
    return [None, "loner", "meg", "max", "pia", "otto", "admin", portal.site.people[3]]


def _address(portal: Portal, path: str) -> str:
    return "/services/dac" + path.replace(RUNNING, str(portal.site.running["meg"]))


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_for_those_who_may_see_it(portal: Portal, path: str) -> None:
    for name, expected in zip(_visitors(portal), PAGES[path], strict=True):
        async with portal.client(name) as client:
            answer = await client.get(_address(portal, path))
        assert answer.status_code == expected, (name, answer.text)
        if expected == 302:
            assert answer.headers["location"].startswith("/services/dac/login?next=")
        elif not path.endswith((".json", ".csv", ".parquet", ".zip")) or expected != 200:
            assert answer.headers["content-type"] == "text/html; charset=utf-8", name
            assert "<h1>" in answer.text


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_without_its_token_does_nothing(portal: Portal, path: str) -> None:
    for name, expected in zip(_visitors(portal), FORMS[path], strict=True):
        async with portal.client(name) as client:
            answer = await client.post(_address(portal, path), data={"username": "otto"})
        assert answer.status_code == expected, (name, answer.text)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/nothing-here"])
async def test_pages_are_for_people_in_person(portal: Portal, path: str) -> None:
    for token in ("admin-server", HUB_TOKEN):
        async with portal.client(None) as client:
            answer = await client.get(
                _address(portal, path), headers={"Authorization": f"Bearer {token}"}
            )
        assert answer.status_code == 403, (token, answer.text)


def test_no_page_or_form_is_forgotten_here(portal: Portal) -> None:
    from dachub.server.portal.routes import parts

    known = {_shape(path) for path in [*PAGES, *FORMS]}
    offered = {_shape(route.path) for part in parts for route in part.router.routes}
    assert offered <= known


def _shape(path: str) -> tuple[str, ...]:
    """A path in which everything that varies is a star."""
    fixed = {
        "", "groups", "plots", "days.json", "usage.json", "usage", "storage", "plot.json",
        "corrections", "edit", "limit", "series", "end", "storage-limit", "cores",
        "history", "members", "remove",
        "password", "sessions", "stop", "admin", "people", "servers", "audit", "allocations",
        "adjustments", "disable", "notices", "read", "preferences", "requests", "withdraw", "grant",
        "decline", "enable", "forget", "reports", "report", "my-data.zip", "nothing-here",
    }  # fmt: skip
    plain = path.replace(".{form}", "").removesuffix(".csv").removesuffix(".parquet")
    return tuple(part if part in fixed else "*" for part in plain.strip("/").split("/"))
