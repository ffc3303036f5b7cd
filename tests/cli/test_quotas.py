"""Commands on allocations, limits, requests and storage."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.cli.conftest import Command

from dachub.config import Settings
from dachub.model.storage import Folder, StorageArea, StorageMethod
from dachub.model.usage import Resource
from dachub.server.factory import Process
from dachub.storage.models import Measurement

PASSWORD = "correct horse battery\n"


def test_allocations(dachub: Command) -> None:
    dachub("group", "add", "ztf")
    period = ("--since", "2027-01-01", "--until", "2028-01-01")
    added = dachub(
        "allocation", "add", "ztf", "100.5", *period, "--reason", "call 7", "--json"
    ).json()
    assert added["amount"] == 361_800_000
    assert added["policy"] == "deny"
    assert added["starts_at"].startswith("2027-01-01T00:00:00")
    number = str(added["allocation_id"])
    changed = dachub(
        "allocation", "adjust", number, "-0.5", "--reason", "too much", "--json"
    ).json()
    assert changed["amount"] == 360_000_000
    shown = dachub("allocation", "show", number, "--json").json()
    assert [change["reason"] for change in shown["adjustments"]] == ["call 7", "too much"]
    assert "100.00" in dachub("allocation", "list", "--group", "ztf").out
    assert dachub("allocation", "show", "999").code == 1
    assert dachub("allocation", "add", "ztf", "many", *period, "--reason", "x").code == 1
    assert dachub("allocation", "add", "none", "1", *period, "--reason", "x").code == 1
    assert dachub("allocation", "add", "ztf", "1", "--since", "soon", "--until", "2028-01-01",
                  "--reason", "x").code == 2  # fmt: skip


async def ask(database_url: str) -> None:
    """Two requests of ada's for ztf."""
    process = Process.connect(Settings(), database_url)
    async with process.factory() as services:
        ada = await services.people().principal("ada")
        for amount in (5, 7):
            await services.requests().ask(
                ada, group="ztf", resource=Resource.CORE_HOURS, amount=amount, reason="more sky"
            )
    await process.close()


def test_an_allocation_tells_why_it_is_what_it_is(dachub: Command) -> None:
    dachub("group", "add", "lenses")
    number = dachub(
        "allocation", "add", "lenses", "100", "--since", "2026-10-01", "--until", "2027-01-01",
        "--reason", "award 17", "--json",
    ).json()["allocation_id"]  # fmt: skip
    dachub("allocation", "adjust", str(number), "-20", "--reason", "shared with coma")
    dachub("allocation", "extend", str(number), "--until", "2027-02-01", "--reason", "no cost")
    changed = dachub(
        "allocation", "policy", str(number), "--policy", "stop", "--grace-percent", "5",
        "--warn-at", "50", "--reason", "soft landing", "--json",
    ).json()  # fmt: skip
    assert (changed["policy"], changed["rules"]["warn_at_percent"]) == ("stop", [50])
    assert changed["rules"]["stop_notice_seconds"] == 900  # the site's
    shown = dachub("allocation", "show", str(number)).out
    for said in ("award 17", "-20.00", "until 2027-02-01 00:00", "policy stop", "soft landing"):
        assert said in shown
    wrong = dachub("allocation", "policy", str(number), "--warn-at", "0", "--reason", "x")
    assert (wrong.code, "warn_at_percent" in wrong.err) == (1, True)
    nothing = dachub("allocation", "show", "999")
    assert (nothing.code, "[not-found]" in nothing.err) == (1, True)


def test_cores_at_once_are_limited_and_shown(dachub: Command) -> None:
    dachub("group", "add", "lenses")
    assert dachub("cores", "limit", "200", "--reason", "the new rack").code == 0
    made = dachub(
        "cores", "limit", "16.5", "--group", "lenses", "--reason", "a course", "--json"
    ).json()
    assert (made["group"], made["milli_cores"]) == ("lenses", 16_500)
    shown = dachub("cores", "show").out
    for said in ("the site", "200 cores", "lenses", "16.5 cores"):
        assert said in shown
    assert "Nobody waits." in dachub("cores", "queue").out
    assert dachub("cores", "lift", "--group", "lenses", "--reason", "over").code == 0
    history = dachub("cores", "history", "--group", "lenses").out
    assert history.index("as configured") < history.index("16.5 cores")
    assert dachub("cores", "show", "--json").json()["site"]["limit_milli_cores"] == 200_000
    wrong = dachub("cores", "limit", "some", "--reason", "x")
    assert (wrong.code, "[invalid-amount]" in wrong.err) == (1, True)
    nowhere = dachub("cores", "limit", "5", "--group", "nowhere", "--reason", "x")
    assert (nowhere.code, "[not-found]" in nowhere.err) == (1, True)


def test_recurring_allocations_limits_and_forecasts(dachub: Command) -> None:
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add", "lenses")
    dachub("group", "set-pi", "lenses", "ada")
    series = dachub(
        "allocation", "series", "add", "lenses", "500", "--every", "quarter",
        "--carry-over-percent", "20", "--reason", "award 17", "--json",
    ).json()  # fmt: skip
    assert (series["every"], series["carry_over_percent"]) == ("quarter", 20)
    assert len(dachub("allocation", "list", "--json").json()) == 2
    assert "award 17" in dachub("allocation", "series", "list", "--group", "lenses").out
    (balance,) = dachub("allocation", "forecast", "lenses", "--json").json()
    assert (balance["resource"], balance["left"]) == ("core-hours", 500 * 3_600_000)
    assert "core-hours" in dachub("allocation", "forecast", "lenses").out
    limit = ("group", "limit")
    dachub(*limit, "set", "lenses", "ada", "20", "--reason", "fair share")
    (shown,) = dachub(*limit, "list", "lenses", "--json").json()
    assert (shown["username"], shown["limit"], shown["used"]) == ("ada", 20 * 3_600_000, 0)
    dachub(*limit, "lift", "lenses", "ada", "--reason", "others are done")
    assert "No member has a limit" in dachub(*limit, "list", "lenses").out
    assert "lifted" in dachub(*limit, "history", "lenses").out
    ended = dachub(
        "allocation", "series", "end", str(series["series_id"]), "--reason", "over", "--json"
    ).json()
    assert ended["end_reason"] == "over"
    assert "no doubt" in dachub("allocation", "trust", "--reason", "NTP works").out


def test_requests(dachub: Command, database_url: str) -> None:
    dachub("group", "add", "ztf")
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add-member", "ztf", "ada")
    assert "No requests." in dachub("request", "list").out
    asyncio.run(ask(database_url))
    second, first = dachub("request", "list", "--json").json()
    number = str(first["request_id"])
    assert "more sky" in dachub("request", "list").out
    without = dachub("request", "grant", number)
    assert (without.code, "[no-allocation-in-force]" in without.err) == (1, True)
    period = ("--since", "2020-01-01", "--until", "2199-01-01")
    granted = dachub("request", "grant", number, "--amount", "4.5", *period, "--json").json()
    assert (granted["state"], granted["granted"]) == ("granted", 4.5 * 3_600_000)
    again = dachub("request", "decline", number, "--reason", "no")
    assert (again.code, "[request-decided]" in again.err) == (1, True)
    other = str(second["request_id"])
    declined = dachub("request", "decline", other, "--reason", "nothing left", "--json").json()
    assert declined["decision_reason"] == "nothing left"
    assert dachub("request", "list", "--state", "open", "--json").json() == []
    assert "nothing left" in dachub("request", "show", other).out
    assert dachub("request", "show", "999").code == 1


def test_storage(dachub: Command, data: Path, database_url: str) -> None:
    dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    dachub("group", "add", "ztf-bright")
    assert "Nothing was measured yet" in dachub("storage", "list").out
    set_to = dachub(
        "storage", "quota", "ada", "--bytes", "50GiB", "--files", "9", "--reason", "maps", "--json"
    ).json()
    assert (set_to["bytes"], set_to["files"]) == (50 * 1024**3, 9)
    assert dachub("storage", "show", "ada", "--json").json()["limit_bytes"] == 50 * 1024**3
    assert "maps" in dachub("storage", "quota", "ada").out
    for wrong, code in (
        (("quota", "ada", "--bytes", "50GiB"), "invalid-input"),
        (("quota", "ada", "--bytes", "much", "--reason", "x"), "invalid-input"),
        (("quota", "ztf-bright", "--group", "--bytes", "1", "--reason", "x"), "invalid-input"),
        (("quota", "nobody-here", "--reason", "x"), "not-found"),
        (("sample", "ada"), "storage-not-measured"),
    ):
        refused = dachub("storage", *wrong)
        assert (refused.code, f"[{code}]" in refused.err) == (1, True), refused

    async def measure() -> None:
        process = Process.connect(Settings(), database_url)
        measured = Measurement(
            method=StorageMethod.WALK, bytes=5, allocated_bytes=4096, files=2,
            largest=[Folder(path="data", allocated_bytes=4096, files=1)],
        )  # fmt: skip
        async with process.factory() as factory:
            await factory.storage().record(StorageArea.HOME, "ada", measured)
        await process.close()

    asyncio.run(measure())
    assert "4.1 kB" in dachub("storage", "list").out
    assert "data 4.1 kB" in dachub("storage", "show", "ada").out
    (sample,) = dachub("storage", "history", "ada", "--json").json()
    assert (sample["bytes"], sample["allocated_bytes"], sample["files"]) == (5, 4096, 2)
    assert "[resampled-just-now]" in dachub("storage", "sample", "ada").err
