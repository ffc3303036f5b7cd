"""A fake service, and hubs that speak with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.harness.fake_service import FakeService, fake_service
from tests.hub.running import TOKEN, RunningHub, account


@pytest.fixture
def service() -> Iterator[FakeService]:
    """A service that knows ada (group virgo), bob (coma and virgo) and eve (no group)."""
    fake = FakeService(token=TOKEN)
    fake.accounts = [account("ada", full_name="Ada L"), account("bob"), account("eve")]
    fake.accounts.append(account("root-like", administrator=True))
    fake.local_groups = {"ada": ["virgo"], "bob": ["coma", "virgo"], "root-like": ["virgo"]}
    with fake_service(fake):
        yield fake


@pytest.fixture
def start_hub(service: FakeService) -> Iterator[Callable[..., RunningHub]]:
    """Start hubs that end with the test."""
    with ExitStack() as ends:

        def start(**settings: Any) -> RunningHub:
            directory = Path(tempfile.mkdtemp(prefix="dachub-hub-", dir="/tmp"))
            directory.chmod(0o755)
            hub = RunningHub(directory, service, **settings)
            ends.callback(hub.close)
            hub.start()
            return hub

        yield start


@pytest.fixture
def hub(start_hub: Callable[..., RunningHub]) -> RunningHub:
    return start_hub()
