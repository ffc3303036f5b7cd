"""What the hub shows Prometheus beside JupyterHub's own figures, at ``/hub/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dachub.hub.clock import now
from dachub.hub.storage import OutboxStatus

BUCKETS_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 450, 600, 900, 1200, 1800)

# JupyterHub's own histogram takes a start that was refused for one that failed.
STARTS = Counter(
    "dachub_starts", "Starts of servers: they came up, were refused, or failed", ("outcome",)
)
for _outcome in ("started", "refused", "failed"):
    STARTS.labels(_outcome)  # shown from the beginning, so that the first failure is an increase
START_SECONDS = Histogram(
    "dachub_start_duration_seconds",
    "From a server's turn to start until it answered",
    buckets=BUCKETS_SECONDS,
)


@contextmanager
def counted() -> Iterator[None]:
    """Count a start by how it goes: an error below 500 is a refusal."""
    try:
        yield
    except Exception as error:
        refused = getattr(error, "status_code", 500) < 500
        STARTS.labels("refused" if refused else "failed").inc()
        raise
    STARTS.labels("started").inc()


class OutboxMeter(Collector):
    """The outbox as it was when last looked at; its age goes on meanwhile."""

    def __init__(self) -> None:
        self._seen: OutboxStatus | None = None

    def show(self, status: OutboxStatus | None) -> None:
        """Show this from now on; nothing while the outbox cannot be read."""
        self._seen = status

    def collect(self) -> Iterable[Metric]:
        """Give what is shown."""
        if self._seen is not None:
            yield from _families(self._seen, now())


def _families(outbox: OutboxStatus, at: datetime) -> Iterable[Metric]:
    oldest = 0.0 if outbox.oldest_at is None else (at - outbox.oldest_at).total_seconds()
    for name, text, value in (
        ("dachub_outbox_waiting", "Letters of the hub not yet delivered", outbox.depth),
        ("dachub_outbox_refused", "Letters of the hub that were refused for ever", outbox.refused),
        (
            "dachub_outbox_held",
            "Writes that the disk refused, lost with the hub",
            outbox.held_in_memory,
        ),
        ("dachub_outbox_oldest_seconds", "Age of the oldest letter that waits", max(0.0, oldest)),
    ):
        yield GaugeMetricFamily(name, text, value=value)


OUTBOX = OutboxMeter()
REGISTRY.register(OUTBOX)
