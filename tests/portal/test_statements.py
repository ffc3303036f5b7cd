"""Pages ask the database little, and no more for many rows than for few."""

from __future__ import annotations

import pytest
from tests.harness.statements import counted
from tests.portal.conftest import Portal
from tests.portal.seed import OPERATOR

BASE = "/services/dac"
MOST_STATEMENTS = 40


async def _statements(portal: Portal, name: str, path: str) -> int:
    async with portal.client(name) as client:
        await client.get(BASE + path)  # the hub's answer is remembered from now on
        with counted(portal.process.engine) as said:
            answer = await client.get(BASE + path)
    assert answer.status_code == 200
    return len(said)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("meg", "/"), ("paul", "/groups"), ("pia", "/groups/lenses"),
        ("pia", "/groups/lenses/members"), ("pia", "/groups/lenses/sessions"),
        ("pia", "/groups/lenses/allocations"), ("pia", "/groups/lenses/storage"),
        ("admin", "/admin/usage"), ("admin", "/admin/storage"), ("admin", "/admin/groups"),
        ("admin", "/admin/people"), ("admin", "/admin/people/meg"),
    ],
)  # fmt: skip
async def test_a_page_asks_little(portal: Portal, name: str, path: str) -> None:
    assert await _statements(portal, name, path) <= MOST_STATEMENTS


async def test_more_groups_are_no_more_statements(portal: Portal) -> None:
    before = await _statements(portal, "admin", "/admin/groups")
    async with portal.process.factory() as factory:
        for number in range(5):
            await factory.groups().create(OPERATOR, f"more-{number}", f"More {number}")
    assert await _statements(portal, "admin", "/admin/groups") == before
