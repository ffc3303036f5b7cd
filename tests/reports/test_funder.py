"""The report to the funder: its figures are the portal's, and the page needs nothing else."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy.ext.asyncio import AsyncSession
from tests.reports.conftest import OPERATOR, measured, ran, utc
from typer.testing import CliRunner

from dachub.accounting.models import InvalidPeriod
from dachub.cli.main import app
from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.hub.settings import SiteSettings
from dachub.infra.clock import HeldClock
from dachub.model.awards import SiteAward
from dachub.model.people import LoginRecord
from dachub.model.problems import PermissionDenied
from dachub.model.reports import ReportRow
from dachub.model.storage import StorageArea
from dachub.model.usage import Policy, Resource
from dachub.quota.settings import QuotaSettings
from dachub.reports.services import charts, page
from dachub.reports.services.periods import quarter, quarter_of, stretch
from dachub.server.factory import Factory

HOSTILE = "<script>alert('x')</script>"
Q1 = quarter("2027Q1")


@pytest.fixture
async def site(db: AsyncSession, clock: HeldClock) -> Factory:
    """Noon on 10 March 2027, after two quarters with sessions of three people in two groups."""
    award = SiteAward(title="RAC", amount=1000, starts=date(2026, 10, 1), ends=date(2027, 9, 30))
    services = Factory(
        Settings(
            site=SiteSettings(name=f"DAC {HOSTILE}"), quota=QuotaSettings(site_awards=(award,))
        ),
        db,
        clock,
    )
    await services.groups().create(OPERATOR, "lensing", f"Lenses {HOSTILE}")
    for username, place in (("ada", "roe.example"), ("grace", "ucl.example")):
        await services.logins().record(
            LoginRecord(
                issuer="https://idp.example", subject=username, candidate=username,
                full_name=f"{username} Surname", affiliations=[f"staff@{place}"], at=clock.now(),
            )
        )  # fmt: skip
    await services.allocations().create(
        OPERATOR, group="lensing", resource=Resource.CORE_HOURS, amount=100,
        starts_at=Q1.since, ends_at=Q1.until, policy=Policy.WARN, reason="granted",
    )  # fmt: skip
    for events in (
        ran("over the edge", utc(2026, 12, 31, 20), utc(2027, 1, 1, 4)),
        ran("a", utc(2027, 1, 5), utc(2027, 1, 6), milli_cores=500, gpus=1),
        ran("b", utc(2027, 2, 5), utc(2027, 2, 7), username="grace"),
        ran("c", utc(2027, 3, 5), username="nobody", group="unheard-of"),
        ran("d", utc(2026, 11, 5), utc(2026, 11, 6)),
    ):
        await services.ledger().apply(events)
    for days_ago in (100, 30, 0):
        clock.advance(-timedelta(days=days_ago))
        await services.storage().record(StorageArea.HOME, "ada", measured(10 * 2**30))
        await services.storage().record(StorageArea.GROUP, "lensing", measured(5 * 2**30))
        clock.advance(timedelta(days=days_ago))
    return services


async def test_every_table_adds_up_to_the_portal_s_total(site: Factory) -> None:
    report = await site.funder_reports().report(OPERATOR, Q1)
    used = await site.usage().report(OPERATOR, since=Q1.since, until=Q1.until)
    assert report.total == used.total
    tables = (
        report.months, report.groups, report.institutions, report.sizes, report.environments,
        report.kinds, report.trend[-1:],
    )  # fmt: skip
    for table in tables:
        assert sum(row.milli_core_seconds for row in table) == used.total.milli_core_seconds
        assert sum(row.gpu_seconds for row in table) == used.total.gpu_seconds
    assert (report.people, report.sessions, len(report.groups)) == (3, 4, 2)
    assert {row.name: row.people for row in report.institutions} == {
        "roe.example": 1, "ucl.example": 1, "unknown": 1,
    }  # fmt: skip
    assert [(one.title, one.milli_core_seconds // 3_600_000) for one in report.trend] == [
        ("Q4 2026", 28),
        ("Q1 2027", 4 + 12 + 48 + 132),
    ]
    (allocation,) = report.allocations
    assert allocation.used == (4 + 12 + 48) * 3_600_000
    (award,) = report.awards
    assert award.used == (28 + 4 + 12 + 48 + 132) * 3_600_000
    assert [(row.name, row.allocated_bytes // 2**30) for row in report.stored] == [
        ("homes", 10), ("group lensing", 5),
    ]  # fmt: skip
    assert [one.day for one in report.storage_days] == [date(2027, 2, 8), date(2027, 3, 10)]


async def test_the_page_stands_alone_names_nobody_and_runs_nothing(site: Factory) -> None:
    html = page.render(await site.funder_reports().report(OPERATOR, Q1))
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert "Surname" not in html
    assert "grace" not in html
    assert not re.search(r"<script|<link|<img|url\(|@import|javascript:", html)
    assert set(re.findall(r"https?://[^\s\"<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "Preliminary" in html
    assert "@page" in html
    over = await site.funder_reports().report(OPERATOR, quarter("2026Q4"))
    assert "Preliminary" not in page.render(over)


async def test_a_period_without_anything_has_a_page_too(site: Factory) -> None:
    html = page.render(await site.funder_reports().report(OPERATOR, quarter("2021Q2")))
    assert "Nothing was used." in html
    assert "Nothing was measured" in html


async def test_only_administrators_report(site: Factory) -> None:
    with pytest.raises(PermissionDenied):
        await site.funder_reports().report(Principal("ada", PrincipalKind.PERSON), Q1)


def test_quarters_and_what_was_before_them() -> None:
    assert (Q1.since, Q1.until) == (utc(2027, 1, 1), utc(2027, 4, 1))
    assert Q1.before() == quarter("2026q4") == quarter_of(utc(2026, 12, 31, 23))
    assert Q1.before().title == "Q4 2026 (October to December)"
    other = stretch(utc(2027, 2, 1), utc(2027, 2, 11))
    assert (other.title, other.before().since) == ("2027-02-01 to 2027-02-10", utc(2027, 1, 22))
    for wrong in ("2027", "2027Q5", "27Q1", "Q1", "２０２７Q1"):
        with pytest.raises(InvalidPeriod):
            quarter(wrong)


def test_a_long_table_is_shortened_and_still_adds_up() -> None:
    rows = [ReportRow(name=str(n), milli_core_seconds=n, gpu_seconds=1) for n in range(50)]
    short = page.shortened(rows, 5)
    assert [row.name for row in short] == ["0", "1", "2", "3", "46 others"]
    assert sum(row.milli_core_seconds for row in short) == sum(range(50))
    assert sum(row.gpu_seconds for row in short) == 50


def test_charts_of_nothing_and_of_hostile_names() -> None:
    for chart in (charts.rows, charts.columns):
        assert "<rect" not in chart("Empty", [])
        drawn = chart(HOSTILE, [(HOSTILE, 0.0, "0"), ("x" * 90, 2.5, "2.5")])
        assert HOSTILE not in drawn
        assert 'height="-' not in drawn


def test_the_command_writes_the_page(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "dachub.yaml").write_text(yaml.safe_dump({"database": {"url": database_url}}))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["report", *arguments], env={"DACHUB_DATA": str(tmp_path)})
        return result.exit_code, result.output

    output = tmp_path / "report.html"
    for _ in range(2):  # the same report again replaces it
        assert run("--quarter", "2026Q3", "--output", str(output))[0] == 0
    assert "Q3 2026" in output.read_text()
    code, printed = run("--since", "2026-01-01", "--until", "2026-02-01", "--json")
    assert (code, json.loads(printed)["title"]) == (0, "2026-01-01 to 2026-01-31")
    for wrong in ([], ["--quarter", "2026Q3"], ["--since", "2026-01-01", "--json"],
                  ["--quarter", "2026Q5", "--json"]):  # fmt: skip
        assert run(*wrong)[0] == 1
