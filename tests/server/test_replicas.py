"""Two services on one database: one does the background work, whatever happens to the other."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from tests.harness.cable import Cable
from tests.harness.waiting import until
from tests.server.realhub import RealHub
from tests.server.service import Service

from dachub.model.sessions import EventKind, SessionDescription, SessionEvent

LOGIN = {
    "issuer": "https://idp.example",
    "subject": "s1",
    "candidate": "ada",
    "at": "2026-01-01T00:00:00Z",
}
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
METRICS_TOKEN = "metrics-token-5b6a0d1c9f8e"
TAKE_OVER_SECONDS = 90
"""Far more than it takes, even on a machine that does a lot else."""
WITNESS = """
create table witness (number bigserial primary key, replica text);
create function witness() returns trigger language plpgsql as $$
begin
    insert into witness (replica) values (current_setting('application_name'));
    return new;
end $$;
create trigger witness after insert or update on worker_run for each row
    when (new.name = 'enforce') execute function witness();
"""
LOCK = """
select activity.application_name, activity.pid
from pg_locks as lock join pg_stat_activity as activity using (pid)
where lock.locktype = 'advisory' and lock.granted
    and ((lock.classid::bigint << 32) | lock.objid::bigint) = hashtextextended(%s, 3)
"""


class Replicas:
    """Services by name, and what the database saw of them."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory
        self.by_name: dict[str, Service] = {}
        with psycopg.connect(url) as connection:
            connection.execute(WITNESS)

    def start(self, name: str, *, url: str = "", **arguments: Any) -> Service:
        """Start one, or start it again, and wait until it is ready."""
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        service = Service(
            directory,
            f"{url or self._url}&application_name={name}",
            settings="quota: {enforce_seconds: 5, reconcile_seconds: 5}",
            **{name: value for name, value in arguments.items() if not name.startswith("DACHUB")},
        )
        service.environment["DACHUB_METRICS_TOKEN"] = METRICS_TOKEN
        service.environment |= {
            name: value for name, value in arguments.items() if name.startswith("DACHUB")
        }
        service.start()
        self.by_name[name] = service
        service.until_health(200)
        return service

    def leader(self, kind: str = "service") -> tuple[str, int] | None:
        """Name of the one that leads, and the process that PostgreSQL has for its lock."""
        with psycopg.connect(self._url) as connection:
            return connection.execute(LOCK, [f"lead {kind}"]).fetchone()

    def until_leader(self) -> str:
        """Wait for a leader; gives its name."""
        return until(self.leader, "somebody leads", TAKE_OVER_SECONDS)[0]

    def enforced(self) -> list[str]:
        """Who held quotas against usage, run by run."""
        with psycopg.connect(self._url) as connection:
            return [
                name
                for (name,) in connection.execute("select replica from witness order by number")
            ]

    def until_enforced_by(self, name: str, more: int = 1) -> None:
        """Wait until one did it, so many times from now on."""
        before = self.enforced().count(name)
        until(
            lambda: self.enforced().count(name) >= before + more,
            f"{name} enforces",
            TAKE_OVER_SECONDS,
        )

    def one_after_the_other(self) -> list[str]:
        """Who enforced, each name once as long as nobody else did."""
        return [name for name, _ in groupby(self.enforced())]

    def end(self) -> None:
        """Kill all that run."""
        for service in self.by_name.values():
            if service.process is not None:
                service.process.send_signal(signal.SIGCONT)
                service.stop(signal.SIGKILL)


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[Replicas]:
    made = Replicas(database_url, tmp_path)
    yield made
    made.end()


@pytest.fixture
def cable(postgres: str) -> Iterator[Cable]:
    made = Cable(Path(postgres.partition("host=")[2]) / ".s.PGSQL.5432")
    yield made
    made.close()


@pytest.fixture
def pair(replicas: Replicas) -> tuple[Replicas, str, str]:
    """Two that run: the leader's name, and the other's."""
    for name in ("one", "two"):
        replicas.start(name)
    leader = replicas.until_leader()
    other = {"one": "two", "two": "one"}[leader]
    replicas.until_enforced_by(leader)
    return replicas, leader, other


Pair = tuple[Replicas, str, str]


def test_another_takes_over_from_one_that_is_killed(pair: Pair) -> None:
    replicas, leader, other = pair
    replicas.by_name[leader].stop(signal.SIGKILL)
    replicas.until_enforced_by(other)
    replicas.start(leader)
    replicas.until_enforced_by(other, 2)
    assert replicas.one_after_the_other() == [leader, other]


def test_one_that_ends_in_order_is_followed_at_once(pair: Pair) -> None:
    replicas, leader, other = pair
    assert replicas.by_name[leader].stop() == 0
    replicas.until_enforced_by(other)
    log = [line for line in replicas.by_name[other].log() if line["message"] == "leads"]
    told = {line["dachub"]["kind"]: line["dachub"]["after_another"] for line in log}
    assert told["service"] is False
    assert replicas.one_after_the_other() == [leader, other]


def test_one_that_froze_does_nothing_any_more_when_it_thaws(pair: Pair) -> None:
    replicas, leader, other = pair
    frozen = replicas.by_name[leader]
    assert frozen.process is not None
    frozen.process.send_signal(signal.SIGSTOP)
    replicas.until_enforced_by(other)
    frozen.process.send_signal(signal.SIGCONT)
    until(
        lambda: any(line["message"].startswith("leads no more") for line in frozen.log()),
        "it notices that it leads no more",
    )
    replicas.until_enforced_by(other, 2)
    assert frozen.health() == 200
    assert replicas.one_after_the_other() == [leader, other]


def test_one_whose_connection_is_cut_stops_and_one_of_both_goes_on(
    pair: Pair, database_url: str
) -> None:
    replicas, leader, _ = pair
    held = replicas.leader()
    assert held is not None
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(%s, 5000)", [held[1]])
    cut = replicas.by_name[leader]
    until(
        lambda: any(line["message"].startswith("leads no more") for line in cut.log()),
        "it notices at once",
    )
    following = replicas.until_leader()
    replicas.until_enforced_by(following, 2)
    assert replicas.one_after_the_other() in ([leader], [leader, following])


def test_one_that_the_network_cuts_off_stops_by_itself(
    replicas: Replicas, cable: Cable, database_url: str
) -> None:
    way = re.sub(r"@(/\w+).*", rf"@127.0.0.1:{cable.port}\1?sslmode=disable", database_url)
    cut_off = replicas.start("one", url=way)
    replicas.until_enforced_by("one")
    replicas.start("two")
    cable.interrupt()
    replicas.until_enforced_by("two")
    assert any(line["message"].startswith("leads no more") for line in cut_off.log())
    cable.mend()
    cut_off.until_health(200)
    replicas.until_enforced_by("two", 2)
    assert replicas.one_after_the_other() == ["one", "two"]


def test_either_tells_the_same_of_the_workers(pair: Pair) -> None:
    replicas, _, _ = pair

    def told(service: Service) -> set[str]:
        answer = httpx.get(
            f"http://127.0.0.1:{service.port}/services/dac/metrics",
            headers={"Authorization": f"Bearer {METRICS_TOKEN}"},
        )
        return {
            line.partition("}")[0]
            for line in answer.text.splitlines()
            if line.startswith(("dachub_worker_last_success", "dachub_leader"))
        }

    shown = until(lambda: told(replicas.by_name["one"]), "one shows the workers", 30)
    assert any('worker="enforce"' in line for line in shown)
    assert shown == told(replicas.by_name["two"])


def test_work_on_storage_is_done_where_the_files_are(replicas: Replicas) -> None:
    replicas.start("one", DACHUB_WORK="service")
    replicas.start("two", DACHUB_WORK="storage")
    until(lambda: replicas.leader("service") and replicas.leader("storage"), "both are led")
    assert {kind: (replicas.leader(kind) or "")[0] for kind in ("service", "storage")} == {
        "service": "one",
        "storage": "two",
    }
    done = {
        name: {path.name for path in service.directory.iterdir()}
        for name, service in replicas.by_name.items()
    }
    assert "groups" not in done["one"]
    until(lambda: (replicas.by_name["two"].directory / "groups").is_dir(), "folders are made")


@pytest.mark.hub
def test_one_signs_in_at_one_and_sends_forms_to_the_other(replicas: Replicas, hub: RealHub) -> None:
    known = {"hub_api_url": hub.api_url, "service_token": hub.service_token}
    one, two = (replicas.start(name, **known) for name in ("one", "two"))
    assert one.ask("POST", "/hub/logins", json=LOGIN).json()["username"] == "ada"
    with httpx.Client(follow_redirects=False, timeout=30) as browser:
        pages = [f"http://127.0.0.1:{service.port}/services/dac" for service in (one, two)]
        authorize = browser.get(f"{pages[0]}/login").headers["location"]
        back = hub.sign_in("ada", authorize)
        signed_in = browser.get(f"{pages[1]}{back.partition('/services/dac')[2]}")
        assert signed_in.status_code == 302, signed_in.text
        page = browser.get(f"{pages[0]}/notices")
        assert page.status_code == 200
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None
        sent = browser.post(f"{pages[1]}/notices/read", data={"csrf_token": token[1], "up_to": "1"})
        assert sent.status_code == 303, sent.text


def test_what_is_sent_to_both_counts_once_while_the_leader_dies(
    pair: Pair, database_url: str
) -> None:
    replicas, leader, _ = pair
    hour, count = timedelta(hours=1), 20
    for number in range(count):
        if number == count // 2:
            replicas.by_name[leader].stop(signal.SIGKILL)
        for service in replicas.by_name.values():
            if service.process is not None:
                sent = service.ask("POST", "/events", json={"events": ran(number, hour)})
                assert sent.json() == {"accepted": 2, "refused": []}
    with psycopg.connect(database_url) as connection:
        used = connection.execute("select sum(milli_core_seconds) from usage_day").fetchone()
    assert used == (count * 2000 * hour.total_seconds(),)


def ran(number: int, length: timedelta) -> list[Any]:
    """All that is told of a session that ran for ``length``."""
    session = SessionDescription(
        session_id=UUID(int=number),
        username="ada",
        group="campaign",
        server_name=f"server-{number}",
        size="small",
        environment="astronomy",
        milli_cores=2000,
        memory_bytes=2**31,
        requested_at=BEGAN,
    )
    events = [
        SessionEvent(
            event_id=UUID(int=2 * number + last),
            kind=kind,
            session=session,
            at=at,
            started_at=BEGAN,
        )
        for last, (kind, at) in enumerate(
            [(EventKind.STARTED, BEGAN), (EventKind.STOPPED, BEGAN + length)]
        )
    ]
    return [event.model_dump(mode="json") for event in events]
