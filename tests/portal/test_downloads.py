"""Downloads: exact, streamed, harmless in a spreadsheet, for the same people as the pages."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow.parquet as parquet
import pytest
from tests.portal.conftest import Portal
from tests.portal.seed import NOW, OPERATOR

from dachub.server.portal import records
from dachub.server.portal.downloads import FORMULA_BEGINNINGS, Column, Format, Type, download

BASE = "/services/dac"
QUARTER = "period=this-quarter"


async def _get(portal: Portal, name: str, path: str, **headers: str) -> httpx.Response:
    async with portal.client(name) as client:
        return await client.get(BASE + path, headers=headers)


def _rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    if "csv" in answer.headers["content-type"]:
        return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    return parquet.read_table(io.BytesIO(answer.content)).to_pylist()


@pytest.mark.parametrize("form", Format)
async def test_a_groups_usage_is_the_ledgers_to_the_second(portal: Portal, form: Format) -> None:
    answer = await _get(portal, "pia", f"/groups/lenses/usage.{form}?{QUARTER}")
    assert (
        f'filename="lenses-usage-2027-01-01-2027-03-31.{form}"'
        in answer.headers["content-disposition"]
    )
    async with portal.process.factory() as factory:
        report = await factory.usage().report(
            OPERATOR,
            since=datetime(2027, 1, 1, tzinfo=UTC), until=datetime(2027, 4, 1, tzinfo=UTC),
            dimensions=["day", "user"], group="lenses",
        )  # fmt: skip
    told = [
        (
            str(row["day"]), row["username"], int(row["milli_core_seconds"]),
            int(row["memory_byte_seconds"]), int(row["gpu_seconds"]),
            float(row["memory_gibibyte_hours"]),
        )
        for row in _rows(answer)
    ]  # fmt: skip
    assert told == [
        (
            str(row.day), row.username, row.milli_core_seconds, row.memory_byte_seconds,
            row.gpu_seconds, round(row.memory_byte_seconds / 2**30 / 3600, 6),
        )
        for row in report.rows
    ]  # fmt: skip
    assert len(told) > 50


@pytest.mark.parametrize("form", Format)
async def test_sessions_come_in_pieces_and_none_is_lost(
    portal: Portal, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SESSIONS_PER_BATCH", 7)
    path = f"/admin/sessions.{form}?period=custom&first=2026-12-01&last=2027-03-10"
    rows = _rows(await _get(portal, "admin", path))
    async with portal.process.factory() as factory:
        sessions = await factory.sessions().list(OPERATOR, limit=1000)
    assert [row["session_id"] for row in rows] == [str(one.session_id) for one in sessions]
    assert sum(int(row["milli_core_seconds"]) for row in rows) == sum(
        round(one.core_seconds * 1000) for one in sessions
    )


async def test_who_may_not_see_a_page_downloads_nothing_of_it(portal: Portal) -> None:
    for name, path in (("otto", "/groups/lenses/usage.csv"), ("meg", "/admin/sessions.csv"),
                       ("meg", "/groups/lenses/sessions.csv?member=pia")):  # fmt: skip
        answer = await _get(portal, name, path)
        assert answer.status_code == 403
        assert "<h1>" in answer.text
    own = _rows(await _get(portal, "meg", f"/groups/lenses/usage.csv?{QUARTER}"))
    assert {row["username"] for row in own} == {"meg"}


async def _bytes(form: Format, columns: list[Column], *batches: list[Any]) -> bytes:
    async def pieces() -> Any:
        for batch in batches:
            yield batch

    answer: Any = await download("x", form, columns, pieces())
    return b"".join([part async for part in answer.body_iterator])


async def test_a_text_never_becomes_a_formula(portal: Portal) -> None:
    hostile = [f'{beginning}HYPERLINK("https://evil.example")' for beginning in FORMULA_BEGINNINGS]
    sent = await _bytes(
        Format.CSV,
        [Column("text", Type.TEXT, lambda row: row), Column("change", Type.INTEGER, lambda _: -5)],
        hostile,
    )
    rows = list(csv.DictReader(io.StringIO(sent.decode(), newline="")))
    assert [row["text"] for row in rows] == [f"'{text}" for text in hostile]
    assert {row["change"] for row in rows} == {"-5"}


async def test_integers_beyond_64_bits_and_nothing_at_all_are_kept(portal: Portal) -> None:
    columns = [
        Column("large", Type.LARGE, lambda row: row),
        Column("at", Type.MOMENT, lambda _: NOW),
    ]
    for batches in ([[2**70], [None, 3]], [[2**70, None, 3], []]):
        sent = await _bytes(Format.PARQUET, columns, *batches)
        table = parquet.read_table(io.BytesIO(sent))
        assert table["large"].to_pylist() == [2**70, None, 3]
        assert table["at"].to_pylist() == [NOW] * 3
    empty = await _bytes(Format.PARQUET, columns)
    assert parquet.read_table(io.BytesIO(empty)).num_rows == 0
    assert await _bytes(Format.CSV, columns) == b"large,at\r\n"
