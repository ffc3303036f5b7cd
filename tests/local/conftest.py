"""A directory that other accounts can pass through, as they can below /var/lib."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dachub.local.layout import Layout


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """An empty directory, mode 0755, below one that all can pass."""
    path = Path(tempfile.mkdtemp(prefix="dachub-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def layout(open_directory: Path) -> Layout:
    """A data directory with its folders and secrets."""
    layout = Layout(open_directory / "data")
    layout.create()
    layout.create_secrets()
    return layout
