"""What all pages of a group share: who looks at it, and the tabs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from dachub.model.names import GROUP_SLUG_PATTERN
from dachub.model.people import Role
from dachub.server.factory import Factory
from dachub.server.portal.pages import BASE, Visit

Slug = Annotated[str, Path(pattern=GROUP_SLUG_PATTERN, max_length=20)]
TABS = {
    "": "Overview",
    "/members": "Members",
    "/sessions": "Sessions",
    "/allocations": "Allocations",
    "/requests": "Requests",
    "/storage": "Storage",
}
MANAGERS_TABS = {"/history": "History"}


async def group_frame(visit: Visit, factory: Factory, slug: str) -> dict[str, Any]:
    """What the template of every page of a group needs.

    Raises
    ------
    NotFound
        If there is no such group, or the visitor may not know of it.
    """
    manages = visit.caller.has(slug, Role.MANAGER)
    return {
        "group": await factory.groups().show(visit.caller, slug),
        "role": visit.caller.roles.get(slug),
        "manages": manages,
        "here": f"{BASE}groups/{slug}",
        "tabs": {**TABS, **(MANAGERS_TABS if manages else {})},
    }
