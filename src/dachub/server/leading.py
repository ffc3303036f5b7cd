"""Does a kind of background work in this process as long as it leads it."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from contextlib import suppress

import psycopg
import structlog

from dachub.infra.leadership import LEASE_SECONDS, RENEW_SECONDS, NotLeading, Seat, Term
from dachub.model.problems import DachubError
from dachub.server.factory import Process, Worker

STAND_SECONDS = 1
"""How often to look whether the lead is free."""
STAND_SECONDS_MAX = 5
LEAVE_SECONDS = 2
LOST = (psycopg.Error, OSError, NotLeading)

log = structlog.get_logger(__name__)


class Shift:
    """A kind of work and its workers; another process takes over when this one cannot go on.

    Parameters
    ----------
    kind
        Names the work; of all processes one leads it.
    """

    def __init__(self, process: Process, kind: str, workers: Sequence[Worker]) -> None:
        self._process = process
        self._clock = process.clock
        self._kind = kind
        self._workers = workers
        self._seat = Seat(process.database_url, kind, platform.node())
        self._leads_until = 0.0

    async def run(self) -> None:
        """Stand for the lead, and work while we have it; for ever, until cancelled."""
        failures = 0
        while True:
            try:
                async with self._seat.connected():
                    while (term := await self._seat.take()) is None:
                        await self._seat.pause(STAND_SECONDS)
                    failures = 0
                    await self._lead(term)
            except LOST as error:
                log.warning("leads no more, or cannot yet", kind=self._kind, error=str(error)[:300])
            except Exception:
                log.exception("leads no more", kind=self._kind)
            failures += 1
            await asyncio.sleep(min(STAND_SECONDS * 2**failures, STAND_SECONDS_MAX))

    async def _lead(self, term: Term) -> None:
        log.info("leads", kind=self._kind, after_another=term.after_another)
        process = self._process.under(term)
        self._renewed_at(self._clock.monotonic())
        for worker in self._workers:
            worker.failures, worker.error = 0, ""
            self._process.workers[worker.name] = worker
        tasks = [asyncio.create_task(self._keep(each, process, term)) for each in self._workers]
        watchdog = asyncio.create_task(self._stop_in_time(tasks))
        try:
            while True:
                begun = self._clock.monotonic()
                await self._seat.renew(term, [worker.status() for worker in self._workers])
                self._require_lease()  # it may have been over before the answer came
                self._renewed_at(begun)
                await self._seat.pause(RENEW_SECONDS)
        finally:
            for task in (watchdog, *tasks):
                task.cancel()
            for worker in self._workers:
                self._process.workers.pop(worker.name)
            await asyncio.gather(watchdog, *tasks, return_exceptions=True)
            with suppress(*LOST):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._seat.leave(term)

    def _renewed_at(self, begun: float) -> None:
        self._leads_until = begun + LEASE_SECONDS

    def _require_lease(self) -> None:
        if self._clock.monotonic() >= self._leads_until:
            raise NotLeading(f"The lead of the {self._kind} work was not renewed in time.")

    async def _stop_in_time(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Stop the workers when the lease is over, whether the database answers or not."""
        while (left_seconds := self._leads_until - self._clock.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_seconds)
        for task in tasks:
            task.cancel()
        self._seat.cut()

    async def _keep(self, worker: Worker, process: Process, term: Term) -> None:
        if term.after_another:
            await asyncio.sleep(LEASE_SECONDS)
        while True:
            worker.woken.clear()
            self._require_lease()
            await _run(worker, process)
            with suppress(TimeoutError):
                async with asyncio.timeout(worker.pause_seconds(process)):
                    await worker.woken.wait()


async def _run(worker: Worker, process: Process) -> None:
    try:
        async with asyncio.timeout(worker.run_seconds):
            outcome = await worker.run(process)
    except Exception as error:
        worker.failures += 1
        worker.error = f"{type(error).__name__}: {error}"[:300]
        # Once with everything, then one line each time: an outage must not fill the disk.
        if worker.failures == 1 and not isinstance(error, DachubError):
            log.exception("worker failed", worker=worker.name)
        else:
            log.warning(
                "worker failed", worker=worker.name, error=worker.error, runs=worker.failures
            )
        return
    if worker.failures:
        log.info("worker recovered", worker=worker.name, after_runs=worker.failures)
    worker.failures, worker.error = 0, ""
    worker.succeeded_at, worker.outcome = process.clock.now(), outcome
