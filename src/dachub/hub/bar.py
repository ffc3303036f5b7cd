"""The bar at the top of every page, the hub's and the portal's: one list of links, one template."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """A word in the bar, and where it leads.

    Attributes
    ----------
    path
        Below the address of the whole platform.
    """

    text: str
    path: str
    for_administrators: bool = False


PORTAL = "services/dac/"
LINKS = (
    Link("My server", "hub/home"),
    Link("My usage", PORTAL),
    Link("My storage", f"{PORTAL}storage"),
    Link("Groups", f"{PORTAL}groups"),
    Link("Notices", f"{PORTAL}notices"),
    Link("Tokens", "hub/token"),
    Link("Administration", f"{PORTAL}admin", for_administrators=True),
)


def links(*, administers: bool) -> list[Link]:
    """What a person finds in the bar."""
    return [link for link in LINKS if administers or not link.for_administrators]


def place_of(path: str) -> str:
    """The link to which the page at ``path`` belongs; empty if to none."""
    here = path.removeprefix("/")
    found = [
        link.path
        for link in LINKS
        if here == link.path or (link.path != PORTAL and here.startswith(f"{link.path}/"))
    ]
    return found[0] if found else ""
