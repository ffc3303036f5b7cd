"""Measures storage in a process of its own and keeps what it reports."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import structlog

from dachub.model.problems import DachubError
from dachub.model.storage import StorageArea
from dachub.server.factory import Process, Worker
from dachub.storage.models import ReportKind, SamplingJob, SamplingReport
from dachub.storage.services import StorageService
from dachub.storage.settings import StorageSettings
from dachub.storage.volumes import ClusterVolumes, Volumes

log = structlog.get_logger(__name__)

STORAGE = "storage"
REQUESTS = "storage-requests"
STORAGE_EVERY_SECONDS = 60
REQUESTS_EVERY_SECONDS = 2
VOLUMES_EVERY_SECONDS = 60
"""Machines count no more often."""
THIN_EVERY_SECONDS = 24 * 3600
RUN_SECONDS_MAX = 24 * 3600
SILENT_SECONDS_MAX = 900
"""A file system that shows nothing for so long hangs."""
LINE_BYTES_MAX = 2**26


class SamplingFailed(DachubError):
    """The process that measures died, or says nothing any more."""

    code = "sampling-failed"
    status = 500


def storage_workers(settings: StorageSettings) -> list[Worker]:
    """The background work of storage."""
    day = RUN_SECONDS_MAX
    thinning = Worker("storage-thinning", THIN_EVERY_SECONDS, thin_samples)
    if settings.method == "volumes":
        volumes = partial(sample_volumes, ClusterVolumes(settings.machine_certificates))
        return [Worker("storage-volumes", VOLUMES_EVERY_SECONDS, volumes), thinning]
    return [
        Worker(STORAGE, STORAGE_EVERY_SECONDS, sample_due, run_seconds=day),
        Worker(REQUESTS, REQUESTS_EVERY_SECONDS, sample_requested, run_seconds=day),
        thinning,
    ]


async def sample_due(process: Process) -> str:
    """Measure every place whose last measurement is old."""
    async with process.factory() as services:
        job = await services.storage().job()
    counts = await _sample(process, job, requested=False) if job else Counter[ReportKind]()
    if counts[ReportKind.UNFINISHED]:
        process.nudge(STORAGE)  # the next turn, at once
    return _summary(counts)


async def sample_requested(process: Process) -> str:
    """Measure what people asked for, after they made room."""
    async with process.factory() as services:
        job = await services.storage().job(requested=True)
    counts = await _sample(process, job, requested=True) if job else Counter[ReportKind]()
    return _summary(counts)


async def sample_volumes(volumes: Volumes, process: Process) -> str:
    """Keep what the cluster's machines say of homes whose last measurement is old or asked for."""
    found = await volumes.read()
    async with process.factory() as services:
        storage = services.storage()
        await storage.note_present(StorageArea.HOME, {volume.username for volume in found})
        due = await storage.due(StorageArea.HOME, [volume.username for volume in found])
    kept = 0
    for volume in found:
        if volume.measured is not None and volume.username in due:
            async with process.factory() as services:
                await services.storage().record(
                    StorageArea.HOME, volume.username, volume.measured, requested=True
                )
            kept += 1
    return f"{kept} of {len(found)} volumes measured"


async def thin_samples(process: Process) -> str:
    """Keep of each hour, and later of each day, the last sample only."""
    async with process.factory() as services:
        return f"{await services.storage().thin()} samples forgotten"


async def _sample(process: Process, job: SamplingJob, *, requested: bool) -> Counter[ReportKind]:
    counts: Counter[ReportKind] = Counter()
    async with aclosing(_reports(job)) as reports:
        async for report in reports:
            counts[report.kind] += 1
            if report.kind is ReportKind.FAILED:
                log.warning(
                    "not measured", area=report.area, owner=report.owner, reason=report.text
                )
            if report.kind is not ReportKind.ADVANCED:
                async with process.factory() as services:
                    await _keep(services.storage(), report, requested=requested)
    return counts


async def _keep(storage: StorageService, report: SamplingReport, *, requested: bool) -> None:
    if report.kind is ReportKind.LISTED:
        await storage.note_present(report.area, report.owners)
    elif report.measurement is not None:
        await storage.record(
            report.area,
            report.owner,
            report.measurement,
            enforced=report.enforced,
            requested=requested,
        )
    elif report.owner:
        failed = report.kind is ReportKind.FAILED
        await storage.note_tried(report.area, report.owner, give_up=requested and failed)


async def _reports(job: SamplingJob) -> AsyncGenerator[SamplingReport]:
    """Lines of a sampling process, which ends with us however we end."""
    sampling = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "dachub.storage.sample",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        cwd="/",
        # Nothing of the service's environment is its business.
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
    )  # fmt: skip
    assert sampling.stdin is not None  # noqa: S101
    assert sampling.stdout is not None  # noqa: S101
    try:
        sampling.stdin.write(job.model_dump_json().encode())
        sampling.stdin.close()
        while line := await asyncio.wait_for(sampling.stdout.readline(), SILENT_SECONDS_MAX):
            yield SamplingReport.model_validate_json(line)
        status = await sampling.wait()
        if status != 0:
            raise SamplingFailed(
                f"The process that measures storage ended with status {status}; what it had not "
                "reported is measured in the next run. Its own words are in the service's log."
            )
    except TimeoutError as error:
        raise SamplingFailed(
            f"Nothing was found in {SILENT_SECONDS_MAX} seconds: a file system hangs. Look at "
            "the mounts of storage.homes and storage.groups."
        ) from error
    finally:
        if sampling.returncode is None:
            sampling.kill()
            await sampling.wait()


def _summary(counts: Counter[ReportKind]) -> str:
    told = (ReportKind.MEASURED, ReportKind.UNFINISHED, ReportKind.FAILED)
    return ", ".join(f"{counts[kind]} {kind.value}" for kind in told if counts[kind]) or "none due"
