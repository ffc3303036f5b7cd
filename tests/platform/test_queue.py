"""A storm: thirty people start at once where four fit. All are served, in their order, none 429."""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.harness.witness import Witness

pytestmark = pytest.mark.hub

PEOPLE = [f"astronomer-{number:02}" for number in range(30)]
PASSWORD = secrets.token_hex(16)
FIT = 4
soon = partial(until, seconds=90)
CHOICE = {"group": "campaign", "size": "small", "environment": "tiny"}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="dachub-witness-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        settings = {
            "servers": {"environments": [Witness(Path(directory)).environment()]},
            "quota": {"concurrent_milli_cores": FIT * 1000},
        }
        with Platform(settings, account="nobody") as running:
            yield running


@pytest.fixture
def admin(platform: Platform) -> Iterator[Visitor]:
    with Visitor(platform.url, platform.admin_name(), platform.admin_password()) as visitor:
        visitor.login()
        _register(visitor)
        yield visitor


def _register(admin: Visitor) -> None:
    def must(method: str, path: str, **body: object) -> None:
        answer = admin.service(method, path, json=body)
        assert answer.is_success, answer.text

    must("POST", "/groups", slug="campaign", title="Campaign")
    for name in PEOPLE:
        must("POST", "/users", username=name, password=PASSWORD)
        must("PUT", f"/groups/campaign/members/{name}", role="member")


@pytest.fixture
def people(platform: Platform, admin: Visitor) -> Iterator[dict[str, Visitor]]:
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(Visitor(platform.url, name, PASSWORD)) for name in PEOPLE
        }
        for visitor in found.values():
            visitor.login()
            visitor.token()
        yield found


def at_once(people: dict[str, Visitor], names: Sequence[str]) -> list[int]:
    """Let them all start; what each is answered."""
    with ThreadPoolExecutor(len(names)) as pool:
        answers = pool.map(lambda name: people[name].start(**CHOICE), names)
        return [answer.status_code for answer in answers]


def queued(admin: Visitor) -> list[str]:
    return [start["username"] for start in admin.service("GET", "/cores").json()["queue"]]


def sessions(admin: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.service("GET", "/sessions?group=campaign").json()
    return found


def running(admin: Visitor) -> set[str]:
    return {one["username"] for one in sessions(admin) if one["state"] == "running"}


def told(visitor: Visitor) -> str:
    """The first that the page of a starting server says of the queue."""
    address = f"{visitor.url}/hub/api/users/{visitor.username}/server/progress"
    headers = {"Authorization": f"token {visitor.token()}", "Accept": "text/event-stream"}
    with httpx.stream("GET", address, headers=headers, timeout=30, trust_env=False) as lines:
        return next(line for line in lines.iter_lines() if "queue" in line)


def stop(people: dict[str, Visitor], names: Collection[str]) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        for answer in pool.map(lambda name: people[name].stop(), names):
            assert answer.status_code in {202, 204}, answer.text


def limit(admin: Visitor, cores: int) -> None:
    new = {"cores": cores, "reason": "more nodes"}
    assert admin.service("POST", "/cores/limits", json=new).status_code == 201


@pytest.mark.timeout(400)
def test_all_get_a_server_or_a_place_and_are_served_in_order(
    platform: Platform, people: dict[str, Visitor], admin: Visitor
) -> None:
    assert set(at_once(people, PEOPLE)) <= {201, 202}
    soon(lambda: len(running(admin)) == FIT, "four run")
    order = queued(admin)
    assert len(order) == len(PEOPLE) - FIT
    assert f"You are number {len(order)} of {len(order)} in the queue" in told(people[order[-1]])

    quitter = order.pop(2)
    assert people[quitter].stop().status_code in {202, 204}
    soon(lambda: queued(admin) == order, "who gave up makes room")
    assert quitter not in {one["username"] for one in sessions(admin)}

    stop(people, running(admin))
    soon(lambda: running(admin) == {*order[:FIT]}, "the next four run")
    assert queued(admin) == order[FIT:]

    platform.kill("hub")
    platform.wait_until_ready()
    late = order[FIT:]
    assert set(at_once(people, random.sample(late, len(late)))) <= {201, 202}
    soon(lambda: len(queued(admin)) == len(late), "who waited waits again")
    assert queued(admin) == late
    assert running(admin) == {*order[:FIT]}

    limit(admin, FIT + 8)
    soon(lambda: running(admin) == {*order[: FIT + 8]}, "eight more run")
    limit(admin, 100)
    soon(lambda: running(admin) == {*order}, "all run")
    assert {one["username"] for one in sessions(admin)} == {*PEOPLE} - {quitter}
