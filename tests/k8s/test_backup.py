"""Everything is lost on the cluster, and a backup brings it back to the second."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.k8s.installed import Installed, installed, moment

START_SECONDS = 180
BACK_SECONDS = 240
JOB_SECONDS = 180
SERVER_MILLI_CORES = 200
pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]
NAME = re.compile(r"dachub-(\d{8}T\d{6})Z\.tar")
FIGURE = re.compile(r"^dachub_backup_succeeded_timestamp_seconds ([\d.e+]+)$", re.MULTILINE)
BACKUP_PODS = "--selector=app.kubernetes.io/component=backup"
LOSE_DATABASE = (
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION dachub;"
    "CREATE TABLE public.in_the_way (id int)"
)
LOSE_FILES = "rm -f /srv/jupyterhub/jupyterhub.sqlite* /var/lib/dachub/outbox.sqlite*"
WHO = "from dachub import DAC; print(DAC().me.username)"


@pytest.fixture(scope="module")
def platform() -> Iterator[Installed]:
    """A platform of these tests' own, because they destroy it."""
    with installed("dachub-lost") as running:
        running.dachub("group", "add", "campaign", "--title", "Campaign")
        yield running


@pytest.fixture(scope="module")
def ada(platform: Installed) -> Visitor:
    """Somebody whose server runs all the time."""
    return working(platform, "ada")


@pytest.fixture(scope="module")
def bea(platform: Installed) -> Visitor:
    """Somebody whose server has ended."""
    bea = working(platform, "bea")
    bea.stop()
    bea.wait_until_stopped(seconds=90)
    platform.wait_until_ended("bea")
    return bea


@pytest.fixture(scope="module")
def dan(platform: Installed) -> Visitor:
    """Somebody whose server ends after the backup."""
    return working(platform, "dan")


@pytest.fixture(scope="module")
def backup(platform: Installed, ada: Visitor, bea: Visitor, dan: Visitor) -> str:
    """A backup by a job of the CronJob's."""
    platform.here.do("create", "job", "--from=cronjob/dachub-backup", "by-hand")
    done = ("--for=condition=complete", "job/by-hand", f"--timeout={JOB_SECONDS}s")
    platform.here.do("wait", *done)
    found = NAME.search(platform.here.do("logs", "job/by-hand"))
    assert found
    assert kept(platform) == [found[0]]
    return found[0]


def working(platform: Installed, username: str) -> Visitor:
    person = platform.person(username, "campaign")
    person.start(group="campaign", size="tiny").raise_for_status()
    person.wait_until_started(seconds=START_SECONDS)
    return person


def kept(platform: Installed) -> list[str]:
    return [one["file"] for one in json.loads(platform.deploy("backup", "list", "--json"))]


def sql(platform: Installed, statement: str) -> str:
    """Ask PostgreSQL as its superuser."""
    return platform.here.do(
        *("exec", "dachub-postgres-0", "--", "psql", "--username=postgres", "--dbname=dachub"),
        *("--quiet", "--tuples-only", "--no-align", f"--command={statement}"),
    ).strip()


@contextmanager
def held(platform: Installed, table: str) -> Iterator[None]:
    """Lock a table, so that whoever comes there waits, and can be killed at that step."""
    lock = f"BEGIN; LOCK TABLE {table}; SELECT pg_sleep(300)"
    mine = f"FROM pg_locks WHERE relation = '{table}'::regclass"
    with subprocess.Popen(
        [
            *("kubectl", f"--namespace={platform.here.name}", "exec", "dachub-postgres-0", "--"),
            *("psql", "--username=postgres", "--dbname=dachub", f"--command={lock}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as holder:
        try:
            until(lambda: sql(platform, f"SELECT 1 {mine} AND granted"), f"{table} is locked", 30)
            yield
        finally:
            sleepers = "FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE%'"
            sql(platform, f"SELECT pg_terminate_backend(pid) {sleepers}")
            holder.wait()


def wait_until_held_up(platform: Installed, table: str) -> None:
    waiting = f"SELECT 1 FROM pg_locks WHERE relation = '{table}'::regclass AND NOT granted"
    until(lambda: sql(platform, waiting), "it is held up in the middle", JOB_SECONDS)


def kill_pods(platform: Installed) -> None:
    platform.here.do("delete", "pod", BACKUP_PODS, "--grace-period=0", "--force")


def figures(platform: Installed, username: str) -> dict[str, Any]:
    """What the ledger has of somebody's last session, less what differs while it runs."""
    session = platform.last_session(username)
    names = ("session_id", "started_at", "ended_at", "end_reason", "end_is_estimate")
    told = {name: session[name] for name in names}
    return told if session["ended_at"] is None else {**told, "charged": session["core_seconds"]}


def is_exact(session: dict[str, Any]) -> None:
    lasted = (moment(session["ended_at"]) - moment(session["started_at"])).total_seconds()
    assert session["core_seconds"] == pytest.approx(SERVER_MILLI_CORES / 1000 * lasted)


def test_a_backup_holds_all_parts_and_no_secret_and_can_be_taken_elsewhere(
    platform: Installed, backup: str, tmp_path: Path
) -> None:
    (one,) = json.loads(platform.deploy("backup", "list", "--json"))
    parts = [part["name"] for part in one["manifest"]["parts"]]
    assert parts == ["outbox.sqlite", "jupyterhub.sqlite", "database.dump", "dachub.yaml"]
    assert "is whole" in platform.deploy("backup", "fetch", backup, str(tmp_path))
    copy = tmp_path / backup
    assert (copy.stat().st_size, copy.stat().st_mode & 0o777) == (one["size_bytes"], 0o600)


def test_the_figure_that_the_alert_watches_is_the_backups(platform: Installed, backup: str) -> None:
    token = base64.b64decode(platform.here.get("secret", "dachub")["data"]["metrics-token"])
    made = NAME.fullmatch(backup)
    assert made

    def succeeded() -> float:
        with platform.here.forwarded("deployment/dachub", 8080) as address:
            page = httpx.get(
                f"{address}/services/dac/metrics",
                headers={"Authorization": f"Bearer {token.decode()}"},
                trust_env=False,
            )
        found = FIGURE.search(page.text)
        return float(found[1]) if found else 0

    at = moment(f"{made[1]}Z").timestamp()
    until(lambda: at <= succeeded() <= at + JOB_SECONDS, "the service tells of it", 60)


def test_a_backup_that_is_killed_in_the_middle_does_not_count(
    platform: Installed, backup: str
) -> None:
    with held(platform, "export_part"):
        platform.here.do("create", "job", "--from=cronjob/dachub-backup", "killed")
        wait_until_held_up(platform, "export_part")
        platform.here.do("delete", "job", "killed", "--cascade=orphan")  # it would try again
        kill_pods(platform)
    assert kept(platform) == [backup]
    assert NAME.search(platform.deploy("backup", "create"))
    assert kept(platform)[1:] == [backup]


def test_after_the_loss_of_everything_a_restore_brings_it_back(
    platform: Installed, backup: str, ada: Visitor, dan: Visitor
) -> None:
    before = {name: figures(platform, name) for name in ("ada", "bea")}
    assert before["bea"]["ended_at"]
    assert platform.deploy("backup", "create")  # not the newest is taken
    dan.stop()
    dan.wait_until_stopped(seconds=90)
    platform.wait_until_ended("dan")
    working(platform, "eve")
    platform.here.do("exec", "deployment/hub", "--", "sh", "-c", LOSE_FILES)
    sql(platform, LOSE_DATABASE)

    with held(platform, "in_the_way"):
        command = platform.command("backup", "restore", "--yes", backup)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
            wait_until_held_up(platform, "in_the_way")
            killed.kill()
        kill_pods(platform)
    assert "restore-unfinished" in platform.deploy("apply", "--yes", fails=True)

    said = platform.deploy("backup", "restore", "--yes", backup)
    assert re.search(r"kubectl delete pod .*jupyter-eve", said)
    assert "jupyter-ada" not in said
    platform.open()
    assert {name: figures(platform, name) for name in before} == before
    assert "agree" in platform.dachub("usage", "check")
    assert platform.sessions("eve") == []


def test_people_go_on_with_their_tokens_logins_and_servers(
    platform: Installed, backup: str, ada: Visitor
) -> None:
    until(lambda: ada.servers()[""]["ready"], "her token is good and her server known", 60)
    assert ada.is_logged_in()
    said = platform.here.do("exec", "jupyter-ada", "--", "python", "-c", WHO)
    assert said.strip() == "ada"
    platform.visitor("bea")


def test_what_ended_after_the_backup_is_found_by_comparing(
    platform: Installed, dan: Visitor
) -> None:
    session = platform.wait_until_ended("dan", seconds=BACK_SECONDS)
    is_exact(session)


def test_what_ran_through_all_of_it_is_charged_to_the_second(
    platform: Installed, ada: Visitor
) -> None:
    ada.stop()
    ada.wait_until_stopped(seconds=90)
    session = platform.wait_until_ended("ada")
    assert not session["start_is_estimate"]
    assert not session["end_is_estimate"]
    is_exact(session)
    assert "agree" in platform.dachub("usage", "check")
