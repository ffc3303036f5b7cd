"""Ways to measure a place, behind one interface: a walk, and file systems' own figures."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dachub.storage.models import Measurement


class SamplerFailed(Exception):
    """A place could not be measured; the text says why."""


class Sampler(Protocol):
    """Measures places, one after the other."""

    def measure(self, name: str, place: Path) -> Measurement | None:
        """What ``place`` holds; ``None`` if its turn was over first: the next goes on there.

        Parameters
        ----------
        name
            Names the place among all that are measured, for what is remembered of it.

        Raises
        ------
        SamplerFailed
        """
        ...


def spoken_path(path: bytes) -> str:
    """A path for people and the database; a byte that is no UTF-8 shows as its number."""
    return path.decode("utf-8", "backslashreplace") or "."
