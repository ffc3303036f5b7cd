"""Which way a place is measured: as its file system knows itself, else by a walk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dachub.model.storage import StorageMethod
from dachub.storage.models import Allowed, Measurement, SamplingJob
from dachub.storage.samplers import Sampler
from dachub.storage.samplers.ceph import FILE_SYSTEMS, Ceph
from dachub.storage.samplers.mounts import mount_of
from dachub.storage.samplers.walker import Walk
from dachub.storage.samplers.xfs import XFS, is_accounted


class Samplers:
    """The samplers of one job; chosen for each place by its file system, or by the setting."""

    def __init__(self, job: SamplingJob, advanced: Callable[[int], None]) -> None:
        self._method = job.method
        self._enforces = bool(job.defaults)
        self._looks_into = job.only is not None
        self._walk = Walk(
            job.state,
            processes=job.processes,
            files_per_second=job.files_per_second,
            turn_seconds=job.turn_seconds,
            advanced=advanced,
        )
        self._ceph = Ceph()
        self._xfs = XFS(job.state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._walk.close()

    def measure(self, name: str, place: Path) -> Measurement | None:
        """See :class:`Sampler`. Who asked for it is told the largest folders, too: by a walk."""
        sampler = self.of(place)
        measurement = sampler.measure(name, place)
        if sampler is self._walk:
            return measurement
        self._walk.forget(name)
        if not self._looks_into or measurement is None:
            return measurement
        walked = self._walk.measure(name, place)
        return walked and measurement.model_copy(update={"largest": walked.largest})

    def of(self, place: Path) -> Sampler:
        """The sampler for a place.

        Raises
        ------
        OSError
        """
        match self._method:
            case StorageMethod.XFS_QUOTA:
                return self._xfs
            case StorageMethod.CEPH:
                return self._ceph
            case StorageMethod.WALK:
                return self._walk
        mount = mount_of(os.fsencode(place.resolve()))
        if mount is not None and mount.kind in FILE_SYSTEMS:
            return self._ceph
        if is_accounted(mount) and self._xfs.is_counted(place):
            return self._xfs
        return self._walk

    def enforce(self, place: Path, allowed: Allowed) -> bool:
        """Let the file system hold a place to its limits; ``False`` where it cannot.

        Raises
        ------
        SamplerFailed, OSError
        """
        if not self._enforces or self._method == StorageMethod.WALK:
            return False
        if not is_accounted(mount_of(os.fsencode(place.resolve()))):
            return False
        if self._looks_into:  # nothing is set up while somebody waits: the hourly round does it
            return self._xfs.is_counted(place) and allowed != Allowed()
        return self._xfs.enforce(place, allowed)
