"""Take the documentation's pictures of the pages anew: ``make pictures``.

Those of the portal show the site of its tests; the start page and the rescue session come from the
tests that start a platform, which leave what they saw in ``screenshots/``.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.async_api import Page
from tests.conftest import Databases, running_postgres
from tests.harness.browser import SCREENSHOTS
from tests.portal import seed
from tests.portal.conftest import open_portal
from tests.portal.test_browser import Window, drawn, open_window

from dachub import migrations

STATIC = Path(__file__).parents[1] / "docs" / "_static"
WIDTH = 1160
WIDTH_KEPT = 1000
COLOURS = 160


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as somebody sees it.

    Attributes
    ----------
    height
        How much of it is shown, in pixels.
    opened
        Text of the disclosure that is opened first; none if empty.
    """

    who: str
    path: str
    height: int
    opened: str = ""


PICTURES = {
    "groups": Picture("paul", "/groups", 530),
    "group": Picture("pia", "/groups/lenses?period=this-quarter", 1180),
    "members": Picture("pia", "/groups/lenses/members?sort=-used", 690),
    "member": Picture("pia", "/groups/lenses/members/max", 1010, "Set or lift the limit…"),
    "requests": Picture("pia", "/groups/lenses/requests", 800, "Grant…"),
    "allocations": Picture("pia", "/groups/lenses/allocations", 900),
    "group-storage": Picture("pia", "/groups/lenses/storage?period=this-quarter", 900),
    "allocation-form": Picture("admin", "/groups/clusters/allocations", 1320, "Add an allocation…"),
    "correction": Picture("admin", "/sessions/{corrected}", 1080, "Correct what is charged…"),
    "admin-groups": Picture("admin", "/admin/groups?sort=-used", 560),
    "admin-overview": Picture("admin", "/admin", 560),
    "admin-person": Picture("admin", "/admin/people/ada?period=this-quarter", 1250),
    "admin-usage": Picture("admin", "/admin/usage?period=this-quarter&by=size", 1120),
}
OF_TESTS = {"start": "start-1280.png", "rescue": "rescue-1280.png"}
"""Picture -> what a test leaves in ``screenshots/``."""


@asynccontextmanager
async def portal_window() -> AsyncIterator[Window]:
    """A browser before the portal's site, without the names that are there to do harm."""
    seed.HOSTILE, seed.LONG = "for the spectra", "Zoe Zander"
    with running_postgres() as url:
        database = Databases(url).create()
        migrations.upgrade(database)
        async with open_portal(database) as portal, open_window(portal) as window:
            yield window


async def take(window: Window, picture: Picture) -> bytes:
    """The picture, as a PNG."""
    page: Page = await window.open(picture.who, picture.path, WIDTH)
    await page.add_style_tag(content="tr:has(a[href$='groups/hostile']) { display: none }")
    if picture.opened:
        await page.get_by_text(picture.opened, exact=True).first.click()
    await drawn(page)
    await page.evaluate("document.activeElement.blur()")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": picture.height}
    taken = await page.screenshot(clip=clip, full_page=True)
    await page.context.close()
    return taken


def keep(name: str, png: bytes) -> None:
    """Write a picture with few colours: pages have no more, and it takes a third of the room."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((WIDTH_KEPT, image.height), Image.Resampling.LANCZOS)
    few = image.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
    few.save(STATIC / f"{name}.png", optimize=True)


async def main() -> None:
    """Take all of them."""
    async with portal_window() as window:
        for name, picture in PICTURES.items():
            keep(name, await take(window, picture))
    for name, seen in OF_TESTS.items():
        if (SCREENSHOTS / seen).exists():
            keep(name, (SCREENSHOTS / seen).read_bytes())


if __name__ == "__main__":
    asyncio.run(main())
