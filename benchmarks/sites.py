"""The two sides of a comparison: dachub, and JupyterHub as it comes, with the same tiny servers."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor
from tests.harness.witness import Witness

from benchmarks.plain_hub import PlainHub

GROUP = "survey"
# As root, so that both sides start servers the same way: under the one account of the hub.
ACCOUNT = "nobody" if os.geteuid() == 0 else None


@dataclass(frozen=True, slots=True)
class Site:
    """A running hub with people who may log in.

    Attributes
    ----------
    choice
        What people fill into the start form; empty where there is none.
    parts
        Processes whose cost is measured, by name; ``hub`` is always there.
    """

    name: str
    url: str
    people: Sequence[str]
    password: str
    parts: dict[str, psutil.Process]
    choice: dict[str, str] = field(default_factory=dict)

    def visitor(self, username: str) -> Visitor:
        """One of the people, logged in."""
        visitor = Visitor(self.url, username, self.password)
        visitor.login()
        assert visitor.is_logged_in(), f"{username} cannot log in to {self.name}"
        return visitor

    def cpu_seconds(self, part: str = "hub") -> float:
        """Processor time that a part has used so far."""
        times = self.parts[part].cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self, part: str = "hub") -> int:
        """Resident memory of a part."""
        return int(self.parts[part].memory_info().rss)


def names(count: int) -> list[str]:
    """Usernames of people."""
    return [f"user{number:03d}" for number in range(count)]


@contextmanager
def plain(people: int) -> Iterator[Site]:
    """JupyterHub as it comes."""
    with PlainHub(ACCOUNT) as hub:
        yield Site(
            "plain", hub.url, names(people), hub.password, {"hub": psutil.Process(hub.hub_pid)}
        )


@contextmanager
def dachub(people: int) -> Iterator[Site]:
    """The platform of ``dachub up``, with one group that everybody is in."""
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="dachub-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        witness = Witness(Path(directory))
        settings = {"servers": {"environments": [witness.environment()]}}
        with Platform(settings, account=ACCOUNT) as platform:
            with Visitor(platform.url, platform.admin_name(), platform.admin_password()) as admin:
                admin.login()
                _register(admin, names(people), password)
            pids = platform.pids()
            yield Site(
                "dachub",
                platform.url,
                names(people),
                password,
                {name: psutil.Process(pids[name]) for name in ("hub", "service")},
                {"group": GROUP, "size": "small", "environment": "tiny"},
            )


def _register(admin: Visitor, usernames: Sequence[str], password: str) -> None:
    def must(method: str, path: str, **body: object) -> None:
        answer = admin.service(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"

    must("POST", "/groups", slug=GROUP, title="Survey", description="")
    for username in usernames:
        must("POST", "/users", username=username, password=password)
        must("PUT", f"/groups/{GROUP}/members/{username}", role="member")
