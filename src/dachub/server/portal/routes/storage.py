"""Storage: what homes and group folders hold, now and over time, and what they may hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.model.storage import StorageArea, StorageSample, StorageUse
from dachub.model.units import BYTES_PER_GB
from dachub.server.api.parameters import Reason
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Column, Format, Type, download
from dachub.server.portal.forms import Fields, Form, Submitted, answered, changed_once
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES, Period
from dachub.server.portal.plots import bytes_over_time
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(include_in_schema=False)

COLUMNS: dict[str, Callable[[StorageUse], Any]] = {
    "owner": attrgetter("owner"),
    "held": lambda use: use.sample.allocated_bytes if use.sample else -1,
    "files": lambda use: use.sample.files if use.sample else -1,
    "limit": lambda use: -1 if use.limit_bytes is None else use.limit_bytes,
    "share": lambda use: _share(use),
}
SAMPLE_COLUMNS = [
    Column("area", Type.TEXT, lambda sample: sample.area.value),
    Column("owner", Type.TEXT, attrgetter("owner")),
    Column("sampled_at", Type.MOMENT, attrgetter("sampled_at")),
    Column("bytes", Type.INTEGER, attrgetter("bytes")),
    Column("allocated_bytes", Type.INTEGER, attrgetter("allocated_bytes")),
    Column("files", Type.INTEGER, attrgetter("files")),
    Column("unreadable", Type.INTEGER, attrgetter("unreadable")),
    Column("method", Type.TEXT, lambda sample: sample.method.value),
]


def _share(use: StorageUse) -> float:
    if use.sample is None or not use.limit_bytes:
        return -1
    return use.sample.allocated_bytes / use.limit_bytes


class LimitFields(Fields):
    """An exception from the site's limits; what is empty is as the site's."""

    gigabytes: float | None = Field(default=None, ge=0, le=2**30)
    files: int | None = Field(default=None, ge=0, le=2**40)
    reason: Reason

    @property
    def limit_bytes(self) -> int | None:
        """The space, in bytes."""
        return None if self.gigabytes is None else round(self.gigabytes * BYTES_PER_GB)


def last_of_days(samples: Sequence[StorageSample]) -> list[StorageSample]:
    """The last sample of each day, by day."""
    return list({sample.sampled_at.date(): sample for sample in samples}.values())


async def set_limit(
    visit: Visit, form: Form, area: StorageArea, owner: str, factory: Factory
) -> str:
    """Except a place from the site's limits; bytes of a group are its allocations."""
    fields = form.read(LimitFields)
    await factory.storage_limits().set(
        visit.caller, area, owner,
        limit_bytes=fields.limit_bytes if area is StorageArea.HOME else None,
        limit_files=fields.files, reason=fields.reason,
    )  # fmt: skip
    return "The limit was saved."


async def _samples(
    visit: Visit, factory: Factory, area: StorageArea, owner: str, period: Period
) -> list[StorageSample]:
    return last_of_days(
        await factory.storage().history(visit.caller, area, owner, period.since, period.until)
    )


async def _place(
    visit: Visit, factory: Factory, area: StorageArea, owner: str, chosen: Chosen
) -> dict[str, Any]:
    """What a page about one place shows."""
    (use,) = await factory.storage().now(visit.caller, area=area, owner=owner)
    return {
        "use": use,
        "samples": await _samples(visit, factory, area, owner, chosen.period),
        "limits": await factory.storage_limits().history(visit.caller, area, owner),
        "chosen": chosen,
        "choices": CHOICES,
    }


async def _plot(
    visit: Visit, factory: Factory, area: StorageArea, owner: str, chosen: Chosen, theme: Any
) -> Response:
    samples = await _samples(visit, factory, area, owner, chosen.period)
    return json_response(bytes_over_time(samples, chosen.period, theme))


async def _batches(
    visit: Visit, area: StorageArea, owner: str, period: Period
) -> AsyncIterator[Sequence[StorageSample]]:
    async with visit.process.factory() as factory:
        found = await factory.storage().history(
            visit.caller, area, owner, period.since, period.until
        )
    yield found


# --- One's own home -----------------------------------------------------------------------------


@router.get("/storage")
async def mine(visit: Visitor, factory: Services, chosen: ChosenPeriod) -> Response:
    """Show what the caller's home holds."""
    place = await _place(visit, factory, StorageArea.HOME, visit.caller.name, chosen)
    return visit.page(
        "my-storage.html", **place, path_of_place=f"{BASE}storage",
        status=422 if chosen.error else 200,
    )  # fmt: skip


@router.get("/storage/plot.json")
async def my_plot(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, theme: ChosenTheme = "light"
) -> Response:
    """Plot of the caller's home."""
    return await _plot(visit, factory, StorageArea.HOME, visit.caller.name, chosen, theme)


@router.get("/storage.{form}")
async def download_mine(form: Format, visit: Visitor, chosen: ChosenPeriod) -> Response:
    """Every sample of the caller's home."""
    batches = _batches(visit, StorageArea.HOME, visit.caller.name, chosen.period)
    return await download(f"my-storage-{chosen.period.name}", form, SAMPLE_COLUMNS, batches)


# --- A group's folder ---------------------------------------------------------------------------


async def _group_page(
    visit: Visit, slug: str, chosen: Chosen, factory: Factory, form: Form
) -> Response:
    frame = await group_frame(visit, factory, slug)
    return visit.page(
        "group-storage.html",
        **frame,
        **await _place(visit, factory, StorageArea.GROUP, slug, chosen),
        path_of_place=f"{frame['here']}/storage",
        form=form,
        status=form.status if form.message else 422 if chosen.error else 200,
    )


@router.get("/groups/{slug}/storage")
async def of_group(slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod) -> Response:
    """Show what a group's folder holds."""
    return await _group_page(visit, slug, chosen, factory, Form())


@router.get("/groups/{slug}/storage/plot.json")
async def plot_of_group(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot of a group's folder."""
    return await _plot(visit, factory, StorageArea.GROUP, slug, chosen, theme)


@router.get("/groups/{slug}/storage.{form}")
async def download_of_group(
    slug: Slug, form: Format, visit: Visitor, chosen: ChosenPeriod
) -> Response:
    """Every sample of a group's folder."""
    batches = _batches(visit, StorageArea.GROUP, slug, chosen.period)
    return await download(f"{slug}-storage-{chosen.period.name}", form, SAMPLE_COLUMNS, batches)


@router.post("/groups/{slug}/storage/limit")
async def limit_group(
    slug: Slug, visit: Visitor, form: Submitted, chosen: ChosenPeriod
) -> Response:
    """Except a group from the site's limit of files; its bytes are allocations."""
    change = partial(set_limit, visit, form, StorageArea.GROUP, slug)
    page = partial(_group_page, visit, slug, chosen)
    return await answered(
        visit,
        form,
        "storage-limit",
        changed_once(visit, form, change),
        page,
        f"groups/{slug}/storage",
    )


# --- All places, for administrators -------------------------------------------------------------


@router.get("/admin/storage")
async def all_places(
    visit: Visitor, factory: Services, area: StorageArea = StorageArea.GROUP,
    search: Annotated[str, Query(max_length=200)] = "", sort: AskedSort = "",
) -> Response:  # fmt: skip
    """Show what every home or group folder holds."""
    visit.caller.require_administrator()
    places = await factory.storage().now(visit.caller, area=area)
    wanted = search.strip().casefold()
    rows, sorting = sorted_rows(
        [use for use in places if wanted in use.owner.casefold()], sort, COLUMNS, "-held"
    )
    return visit.page(
        "admin-storage.html",
        rows=rows,
        sorting=sorting,
        area=area,
        search=search.strip(),
        total_bytes=sum(use.sample.allocated_bytes for use in places if use.sample),
        total_files=sum(use.sample.files for use in places if use.sample),
    )


@router.get("/admin/storage.{form}")
async def download_all(form: Format, visit: Visitor) -> Response:
    """The latest sample of every place."""
    visit.caller.require_administrator()
    return await download("storage", form, SAMPLE_COLUMNS, _latest(visit))


async def _latest(visit: Visit) -> AsyncIterator[Sequence[StorageSample]]:
    async with visit.process.factory() as factory:
        places = await factory.storage().now(visit.caller)
    yield [use.sample for use in places if use.sample is not None]
