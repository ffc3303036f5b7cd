"""A backup of a platform that runs, restored in its place: the rehearsal, whole."""

from __future__ import annotations

import pytest
from tests.harness.platform import Platform

pytestmark = pytest.mark.hub


def test_a_running_platform_is_backed_up_lost_and_restored() -> None:
    with Platform() as platform:
        platform.dachub("group", "add", "lensing", "--title", "Weak lensing")
        made = platform.dachub("backup", "create", str(platform.data / "backups"))
        file = made.split(" (")[0]
        platform.dachub("group", "add", "later", "--title", "After the backup")
        with pytest.raises(AssertionError, match="already-running"):
            platform.dachub("backup", "restore", "--replace", file)
        platform.interrupt()
        platform.dachub("backup", "restore", "--replace", file)
        platform.start()
        groups = {group["slug"] for group in platform.json("group", "list")}
        assert "lensing" in groups
        assert "later" not in groups
        assert "agree" in platform.dachub("usage", "check")
