"""CephFS keeps the sums of every directory in attributes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dachub.model.storage import StorageMethod
from dachub.storage.models import Measurement
from dachub.storage.samplers import SamplerFailed

FILE_SYSTEMS = frozenset({"ceph", "fuse.ceph-fuse", "fuse.ceph"})


class Ceph:
    """Reads ``ceph.dir.rbytes``, ``rfiles`` and ``rsubdirs``; they lag by some seconds.

    CephFS knows lengths, not what replication or sparse files make of them: both sizes are the sum
    of the lengths.
    """

    def __init__(self, attribute: Callable[[Path, str], bytes] = os.getxattr) -> None:
        self._attribute = attribute

    def measure(self, name: str, place: Path) -> Measurement:  # noqa: ARG002  the interface's
        """See :class:`dachub.storage.samplers.Sampler`."""
        try:
            size, files, folders = (
                int(self._attribute(place, f"ceph.dir.{each}"))
                for each in ("rbytes", "rfiles", "rsubdirs")
            )
        except (OSError, ValueError) as error:
            raise SamplerFailed(f"{place}: CephFS does not tell its sums ({error})") from error
        return Measurement(
            method=StorageMethod.CEPH, bytes=size, allocated_bytes=size, files=files + folders
        )
