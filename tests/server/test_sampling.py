"""From directories on disk to figures and rescue: the service measures in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.storage import StorageArea, StorageMethod, StorageState
from dachub.server import sampling
from dachub.server.factory import Process, Worker
from dachub.server.hubapi import HubAPI
from dachub.server.sampling import (
    SamplingFailed,
    sample_due,
    sample_requested,
    sample_volumes,
)
from dachub.server.workers import Work, workers_of
from dachub.storage.models import Measurement
from dachub.storage.settings import StorageSettings
from dachub.storage.volumes import Volume

OPERATOR = Principal("operator:tests", PrincipalKind.OPERATOR)
MIA = Principal("mia", PrincipalKind.PERSON)
HOME = StorageArea.HOME


@pytest.fixture
async def process(database_url: str, clock: HeldClock, tmp_path: Path) -> AsyncIterator[Process]:
    """A service with a home of mia's, of which 64 KiB may be on disk."""
    settings = Settings(
        storage=StorageSettings(
            homes=tmp_path / "homes",
            groups=tmp_path / "groups",
            state=tmp_path / "state",
            home_bytes=64 * 1024,
        )
    )
    (tmp_path / "homes" / "mia").mkdir(parents=True)
    made = Process(settings, create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    async with made.factory() as services:
        await services.accounts().add(OPERATOR, "mia", password="correct horse battery")
    yield made
    await made.close()


async def test_whoever_made_room_starts_again_within_seconds(
    process: Process, tmp_path: Path
) -> None:
    large = tmp_path / "homes" / "mia" / "data" / "large"
    large.parent.mkdir()
    large.write_bytes(os.urandom(200_000))
    assert await sample_due(process) == "1 measured"
    assert await sample_due(process) == "none due"
    async with process.factory() as services:
        reason = await services.storage().check_start("mia", "lensing")
    assert reason is not None
    large.unlink()
    assert await sample_requested(process) == "1 measured"
    async with process.factory() as services:
        assert await services.storage().check_start("mia", "lensing") is None
        use = await services.storage().of(HOME, "mia")
        assert (use.state, [folder.path for folder in use.largest]) == (StorageState.OK, ["data"])
    assert await sample_requested(process) == "none due"


async def test_an_unfinished_place_has_its_next_turn_at_once(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dachub.storage.services.storage.TURN_SECONDS", 0)
    for number in range(120):
        (tmp_path / "homes" / "mia" / str(number)).mkdir()
        for inner in range(60):
            (tmp_path / "homes" / "mia" / str(number) / str(inner)).mkdir()
    worker = Worker(sampling.STORAGE, 60, sample_due)
    process.workers = {sampling.STORAGE: worker}
    assert await sample_due(process) == "1 unfinished"
    assert worker.woken.is_set()
    async with process.factory() as services:
        assert (await services.storage().of(HOME, "mia")).sample is None
    monkeypatch.setattr("dachub.storage.services.storage.TURN_SECONDS", 60)
    assert await sample_due(process) == "1 measured"
    async with process.factory() as services:
        sample = (await services.storage().of(HOME, "mia")).sample
    assert sample is not None
    assert sample.files == 1 + 120 + 120 * 60


async def test_a_home_that_was_removed_holds_nothing_any_more(
    process: Process, tmp_path: Path
) -> None:
    await sample_due(process)
    shutil.rmtree(tmp_path / "homes" / "mia")
    await sample_due(process)
    async with process.factory() as services:
        assert (await services.storage().of(HOME, "mia")).sample is None


async def test_homes_that_are_not_mounted_are_no_empty_homes(
    process: Process, tmp_path: Path
) -> None:
    await sample_due(process)
    (tmp_path / "homes").rename(tmp_path / "away")
    assert await sample_due(process) == "none due"
    async with process.factory() as services:
        assert (await services.storage().of(HOME, "mia")).sample is not None


async def test_a_request_that_cannot_be_fulfilled_is_given_up(
    process: Process, tmp_path: Path, clock: HeldClock
) -> None:
    await sample_due(process)
    clock.advance(process.clock.now() - process.started_at)
    shutil.rmtree(tmp_path / "homes" / "mia")
    async with process.factory() as services:
        await services.storage()._store.request(HOME, "mia", clock.now())
    assert await sample_requested(process) == "1 failed"
    assert await sample_requested(process) == "none due"


async def test_a_dead_process_is_told_and_what_it_reported_is_kept(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(sampling.sys, "executable", "/bin/false")  # type: ignore[attr-defined]
    with pytest.raises(SamplingFailed, match="status 1"):
        await sample_due(process)


async def test_a_file_system_that_hangs_is_named(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sampling.sys, "executable", str(silent))  # type: ignore[attr-defined]
    monkeypatch.setattr(sampling, "SILENT_SECONDS_MAX", 0.1)
    with pytest.raises(SamplingFailed, match="hangs"):
        await sample_due(process)


class HeldVolumes:
    """Volumes that hold what the test says."""

    def __init__(self, **used: int | None) -> None:
        self.used = used

    async def read(self) -> list[Volume]:
        """All of them; ``None``: nobody has it mounted."""
        return [
            Volume(username, None if used is None else _measured(used))
            for username, used in self.used.items()
        ]


def _measured(used: int) -> Measurement:
    return Measurement(method=StorageMethod.VOLUME, bytes=used, allocated_bytes=used, files=3)


async def test_homes_that_are_volumes_are_limited_like_others(
    process: Process, clock: HeldClock
) -> None:
    volumes = HeldVolumes(mia=200_000, ben=None)
    assert await sample_volumes(volumes, process) == "1 of 2 volumes measured"
    async with process.factory() as services:
        storage = services.storage()
        assert (await storage.of(HOME, "mia")).state is StorageState.OVER
        reason = await storage.check_start("mia", "lensing")  # which asks for it again
    assert reason is not None
    volumes.used["mia"] = 1000
    assert await sample_volumes(volumes, process) == "1 of 2 volumes measured"
    async with process.factory() as services:
        assert await services.storage().check_start("mia", "lensing") is None


async def test_volumes_are_kept_as_often_as_other_places_and_their_last_figure_stays(
    process: Process, clock: HeldClock
) -> None:
    volumes = HeldVolumes(mia=1000)
    await sample_volumes(volumes, process)
    volumes.used["mia"] = 2000
    assert await sample_volumes(volumes, process) == "0 of 1 volumes measured"
    clock.advance(timedelta(seconds=process.settings.storage.every_seconds))
    assert await sample_volumes(volumes, process) == "1 of 1 volumes measured"
    volumes.used["mia"] = None  # her server has ended
    assert await sample_volumes(volumes, process) == "0 of 1 volumes measured"
    async with process.factory() as services:
        use = await services.storage().of(HOME, "mia")
    assert use.sample is not None
    assert use.sample.bytes == 2000


def test_beside_volumes_nothing_walks() -> None:
    settings = Settings(storage=StorageSettings(method="volumes"))
    names = [worker.name for worker in workers_of(settings)[Work.STORAGE]]
    assert names == ["storage-volumes", "storage-thinning"]
