"""What Prometheus is shown: requests as they are answered, the rest as it is when asked.

Labels are bounded: routes by their templates, groups by those that used something today.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Scope

from dachub import __version__
from dachub.accounting.services.figures import Figures
from dachub.accounting.services.reconcile import WORKER as RECONCILE
from dachub.accounting.services.workers import BACKUP
from dachub.directory.models import Principal, PrincipalKind
from dachub.model.problems import DachubError
from dachub.model.queue import WaitsFor
from dachub.model.storage import StorageArea
from dachub.model.units import MILLI_CORES_PER_CORE, SECONDS_PER_HOUR, core_hours
from dachub.notices.models import MailCounts
from dachub.quota.services.enforcement import WORKER as ENFORCE
from dachub.quota.services.figures import QuotaFigures
from dachub.server.auth import API
from dachub.server.factory import Process
from dachub.server.status import DatabaseStatus, LeaderStatus, database_status, leaders_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
KEPT_SECONDS = 5
ANSWER_SECONDS = 3
BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
WATCHER = Principal("metrics", PrincipalKind.OPERATOR)

log = structlog.get_logger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read at a moment; without ``figures`` the database did not answer."""

    at: datetime
    figures: Figures | None
    quotas: QuotaFigures | None
    mails: MailCounts
    database: DatabaseStatus
    leaders: Sequence[LeaderStatus]
    oldest_samples: Mapping[StorageArea, datetime]


class Meters:
    """The meters of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Histogram(
            "dachub_http_request_duration_seconds",
            "Time to answer a request, by route and status",
            ("method", "route", "status"),
            buckets=BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._snapshot: Snapshot | None = None
        self._reading = asyncio.Lock()

    def note_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answered request."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._requests.labels(method, _route(scope), str(status)).observe(seconds)

    async def exposition(self) -> bytes:
        """Everything in Prometheus' text format; what was just read is shown again."""
        async with self._reading:
            now = self._process.clock.now()
            kept = self._snapshot
            if kept is None or not 0 <= (now - kept.at).total_seconds() < KEPT_SECONDS:
                kept = self._snapshot = await self._read(now)
        shown = CollectorRegistry()
        shown.register(_Shown(list(_families(self._process, kept))))
        return generate_latest(self._registry) + generate_latest(shown)

    async def _read(self, now: datetime) -> Snapshot:
        figures, quotas, mails = None, None, MailCounts()
        leaders: list[LeaderStatus] = []
        oldest_samples: Mapping[StorageArea, datetime] = {}
        database = await database_status(self._process)
        try:
            self._process.require_database()
            async with asyncio.timeout(ANSWER_SECONDS), self._process.factory() as services:
                figures = await services.figures().read(WATCHER)
                quotas = await services.quota_figures().read(WATCHER)
                mails = await services.mails().counts()
                leaders = await leaders_of(services)
                oldest_samples = await services.storage().oldest_samples()
        except (SQLAlchemyError, DachubError, OSError, TimeoutError) as error:
            log.warning("no figures: the database does not answer", error=type(error).__name__)
        return Snapshot(now, figures, quotas, mails, database, leaders, oldest_samples)


class _Shown(Collector):
    """Families that were read before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._families


def _route(scope: Scope) -> str:
    """The template of a route, as ``docs/access.md`` names it."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "none"
    return f"/api/v1{path}" if scope["path"].startswith(f"{API}/") else str(path)


def _families(process: Process, snapshot: Snapshot) -> Iterable[Metric]:
    yield _gauge("dachub_build_info", "The version that runs", {(__version__,): 1}, "version")
    yield _gauge(
        "dachub_database_up", "Whether the database answers", {(): snapshot.figures is not None}
    )
    yield from _of_workers(snapshot.leaders)
    if snapshot.figures is not None:
        yield from _of_the_database(snapshot.database)
        yield from _of_runs(snapshot.figures)
        yield _gauge(
            "dachub_storage_oldest_sample_timestamp_seconds",
            "When the place was measured whose last sample is the oldest",
            {(area.value,): at.timestamp() for area, at in snapshot.oldest_samples.items()},
            "area",
        )
        yield from _of_the_ledger(snapshot.figures, process.started_at, snapshot.at)
    if snapshot.quotas is not None:
        yield from _of_quotas(snapshot.quotas)
        yield _gauge(
            "dachub_mails",
            "Mails that wait to be sent, and that were given up",
            {("pending",): snapshot.mails.pending, ("failed",): snapshot.mails.failed},
            "state",
        )


def _of_workers(leaders: Sequence[LeaderStatus]) -> Iterable[Metric]:
    yield _gauge(
        "dachub_leader_seen_timestamp_seconds",
        "When the process that does a kind of background work last said that it does",
        {(leader.kind, leader.replica): leader.seen_at.timestamp() for leader in leaders},
        "kind",
        "replica",
    )
    workers = [worker for leader in leaders for worker in leader.workers]
    yield _gauge(
        "dachub_worker_failures",
        "Runs of a background worker in a row that went wrong",
        {(worker.name,): worker.failures for worker in workers},
        "worker",
    )
    yield _gauge(
        "dachub_worker_last_success_timestamp_seconds",
        "When a background worker last did its work",
        {
            (worker.name,): worker.succeeded_at.timestamp()
            for worker in workers
            if worker.succeeded_at is not None
        },
        "worker",
    )


def _of_the_database(database: DatabaseStatus) -> Iterable[Metric]:
    for name, text, value in (
        ("dachub_database_size_bytes", "Size of the service's database", database.size_bytes),
        (
            "dachub_database_connections",
            "Open connections of the database's server",
            database.connections,
        ),
        ("dachub_database_connections_max", "How many it takes", database.connections_max),
    ):
        if value is not None:
            yield _gauge(name, text, {(): value})


def _of_runs(figures: Figures) -> Iterable[Metric]:
    if enforced := figures.runs.get(ENFORCE):
        yield _gauge(
            "dachub_enforcement_held",
            "Whether nothing is enforced because figures are in doubt",
            {(): not enforced.is_clean},
        )
    if backup := figures.runs.get(BACKUP):
        yield _gauge(
            "dachub_backup_succeeded_timestamp_seconds",
            "When the last backup succeeded",
            {(): backup.succeeded_at.timestamp()},
        )


def _of_the_ledger(figures: Figures, started_at: datetime, now: datetime) -> Iterable[Metric]:
    compared = figures.runs.get(RECONCILE)
    reconciled_at = compared.succeeded_at if compared else started_at
    yield _gauge("dachub_sessions", "Sessions that start or run", figures.sessions, "state", "size")
    yield _gauge(
        "dachub_core_hours_today",
        "Core-hours used since midnight UTC",
        {(row.group or "",): core_hours(row.milli_core_seconds) for row in figures.today},
        "group",
    )
    yield _gauge(
        "dachub_gpu_hours_today",
        "GPU-hours used since midnight UTC",
        {
            (row.group or "",): row.gpu_seconds / SECONDS_PER_HOUR
            for row in figures.today
            if row.gpu_seconds
        },
        "group",
    )
    yield _gauge(
        "dachub_reconciler_age_seconds",
        "Time since ledger and hub were last compared, or else since the service started",
        {(): max(0.0, (now - reconciled_at).total_seconds())},
    )


def _of_quotas(figures: QuotaFigures) -> Iterable[Metric]:
    yield _gauge(
        "dachub_quota_groups", "Groups by how they stand with their quota", figures.standings,
        "resource", "state",
    )  # fmt: skip
    yield _gauge(
        "dachub_requests_open", "Requests for more that wait for a decision",
        {(): figures.open_requests},
    )  # fmt: skip
    yield from _of_cores(figures)


def _of_cores(figures: QuotaFigures) -> Iterable[Metric]:
    site, queue = figures.cores.site, figures.cores.queue
    yield _gauge(
        "dachub_cores_in_use",
        "Cores of servers that run, start or are about to",
        {(): site.in_use_milli_cores / MILLI_CORES_PER_CORE},
    )
    if site.limit_milli_cores is not None:
        yield _gauge(
            "dachub_cores_limit",
            "Cores of the site that may run at once",
            {(): site.limit_milli_cores / MILLI_CORES_PER_CORE},
        )
    waits_for = Counter(start.place.waits_for for start in queue)
    yield _gauge(
        "dachub_starts_waiting",
        "Servers that wait for cores",
        {(what.value,): waits_for[what] for what in WaitsFor},
        "waits_for",
    )
    yield _gauge(
        "dachub_starts_granted",
        "Servers that were given cores and are not in the ledger yet",
        {(): figures.cores.granted},
    )
    yield _gauge(
        "dachub_start_wait_seconds",
        "How long the first of those who wait for cores has waited",
        {(): figures.longest_wait_seconds},
    )


def _gauge(
    name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
