"""Figures for Prometheus: true, cheap, for those who may see them, also in an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.harness.statements import counted
from tests.portal.conftest import HOST, HUB_TOKEN, Portal
from tests.portal.seed import NOW, OPERATOR

from dachub.config import ConfigurationError, MetricsSettings, Settings, metrics_token
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.infra.leadership import LeadershipRow
from dachub.model.notices import NoticeKind, Severity
from dachub.model.units import core_hours
from dachub.server.app import create_app
from dachub.server.factory import Process, WorkerStatus
from dachub.server.hubapi import HubAPI

TOKEN = "the-token-of-prometheus"
METRICS = "/services/dac/metrics"
ROOT = Path(__file__).parents[2]
DOCUMENTED = ROOT / "docs" / "monitoring.md"
METERS = (ROOT / "src/dachub/server/meters.py", ROOT / "src/dachub/hub/meters.py")

Figures = dict[str, dict[tuple[str, ...], float]]


def read(answer: httpx.Response) -> Figures:
    """Sample -> values of its labels, by the labels' names -> value."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: Figures = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(sample.labels[name] for name in sorted(sample.labels))
            ] = sample.value
    return found


@pytest.fixture
def watched(portal: Portal) -> Iterator[Portal]:
    """The portal with a token for Prometheus, and nothing kept from before."""
    portal.process.metrics_token = TOKEN
    portal.app.state.meters._snapshot = None
    yield portal
    portal.process.metrics_token = ""


@pytest.fixture
async def prometheus(watched: Portal) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(watched.app),
        base_url=HOST,
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


async def test_figures_agree_with_the_ledger(
    watched: Portal, prometheus: httpx.AsyncClient
) -> None:
    shown = read(await prometheus.get(METRICS))
    async with watched.process.factory() as factory:
        report = await factory.usage().report(
            OPERATOR, since=NOW.replace(hour=0), until=NOW, dimensions=["group"]
        )
        running = await factory.sessions().running()
        requests = await factory.requests().list(OPERATOR)
    assert shown["dachub_core_hours_today"] == {
        (row.group,): core_hours(row.milli_core_seconds) for row in report.rows
    }
    assert shown["dachub_core_hours_today"]
    assert shown["dachub_sessions"] == {("small", "running"): len(running)}
    assert shown["dachub_database_up"] == {(): 1}
    assert shown["dachub_requests_open"][()] == sum(each.state == "open" for each in requests)
    assert shown["dachub_cores_in_use"][()] == sum(each.milli_cores for each in running) / 1000
    assert shown["dachub_starts_waiting"] == {("site",): 0, ("group",): 0}
    assert shown["process_resident_memory_bytes"][()] > 1e6
    assert shown["dachub_database_size_bytes"][()] > 1e6
    assert (
        0 < shown["dachub_database_connections"][()] < shown["dachub_database_connections_max"][()]
    )


async def test_requests_are_timed_by_template(
    watched: Portal, prometheus: httpx.AsyncClient
) -> None:
    async with watched.client("meg") as client:
        for path in ("groups/photoz", "groups/lenses", "groups/none", "api/v1/groups/photoz"):
            await client.get(f"/services/dac/{path}")
        await client.request("BREW", "/teapot/1234")
    shown = read(await prometheus.get(METRICS))["dachub_http_request_duration_seconds_count"]
    assert shown["GET", "/groups/{slug}", "200"] >= 2
    assert shown["GET", "/groups/{slug}", "404"] >= 1
    assert shown["GET", "/api/v1/groups/{group}", "200"] >= 1
    assert shown["other", "none", "404"] >= 1
    assert not [labels for labels in shown if "photoz" in labels[1] or "teapot" in labels[1]]


async def test_mails_and_workers_are_shown(watched: Portal, prometheus: httpx.AsyncClient) -> None:
    worker = WorkerStatus(name="mails", succeeded_at=NOW, failures=3).model_dump(mode="json")
    async with watched.process.sessions() as session, session.begin():
        session.add(
            LeadershipRow(
                kind="service", holder=uuid4(), replica="pod-1", since=NOW, seen_at=NOW,
                workers=[worker],
            )
        )  # fmt: skip
    async with watched.process.factory() as factory:
        await factory.workers().record("reconcile")
        await factory.workers().record("backup")
        await factory.workers().record("enforce", is_clean=False)
        factory.notices()._mails = True  # as where `mail` is configured
        await factory.notices().give(
            ["meg"], key="metrics", kind=NoticeKind.QUOTA, severity=Severity.INFO, title="T",
            text="T",
        )  # fmt: skip
    shown = read(await prometheus.get(METRICS))
    assert shown["dachub_mails"] == {("pending",): 1, ("failed",): 0}
    assert shown["dachub_leader_seen_timestamp_seconds"] == {("service", "pod-1"): NOW.timestamp()}
    assert shown["dachub_worker_failures"] == {("mails",): 3}
    assert shown["dachub_worker_last_success_timestamp_seconds"] == {("mails",): NOW.timestamp()}
    assert shown["dachub_reconciler_age_seconds"] == {(): 0}
    assert shown["dachub_backup_succeeded_timestamp_seconds"] == {(): NOW.timestamp()}
    assert shown["dachub_enforcement_held"] == {(): 1}


async def test_asking_again_at_once_costs_the_database_nothing(
    watched: Portal, prometheus: httpx.AsyncClient
) -> None:
    with counted(watched.process.engine) as said:
        await asyncio.gather(*(prometheus.get(METRICS) for _ in range(20)))
        assert 0 < len(said) <= 15
        said.clear()
        await prometheus.get(METRICS)
        assert said == []


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401), ("", 401), (TOKEN, 200), (TOKEN + "x", 403), ("admin-token", 200),
        ("admin-server", 403), ("pia-token", 403), (HUB_TOKEN, 403),
    ],
)  # fmt: skip
async def test_only_prometheus_and_administrators_see_them(
    watched: Portal, token: str | None, status: int
) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with watched.client(None) as client:
        answer = await client.get(METRICS, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    watched.process.metrics_token = ""
    async with watched.client(None) as client:
        assert (await client.get(METRICS, headers={"Authorization": "Bearer "})).status_code == 401


async def test_an_outage_of_the_database_is_shown() -> None:
    process = Process(
        Settings(), create_engine("postgresql://nobody@127.0.0.1:1/none"), hub=HubAPI("", ""),
        clock=HeldClock(NOW), metrics_token=TOKEN,
    )  # fmt: skip
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(process)), base_url=HOST
    ) as client:
        shown = read(await client.get(METRICS, headers={"Authorization": f"Bearer {TOKEN}"}))
    await process.close()
    assert shown["dachub_database_up"] == {(): 0}
    assert "dachub_sessions" not in shown


async def test_every_name_is_documented(watched: Portal, prometheus: httpx.AsyncClient) -> None:
    text = DOCUMENTED.read_text()
    source = "".join(path.read_text() for path in METERS)
    names = {word for word in source.replace('"', " ").split() if word.startswith("dachub_")}
    assert len(names) > 12
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_the_token_is_no_word_that_could_be_guessed(tmp_path: Path) -> None:
    assert metrics_token(Settings(), {}) is None
    assert metrics_token(Settings(), {"DACHUB_METRICS_TOKEN": TOKEN}) == TOKEN
    file = tmp_path / "token"
    settings = Settings(metrics=MetricsSettings(token_file=file))
    file.write_text(f"{TOKEN}\n")
    assert metrics_token(settings, {}) == TOKEN
    file.write_text("short\n")
    with pytest.raises(ConfigurationError, match="16 characters"):
        metrics_token(settings, {})
