"""Starting and stopping: Ctrl-C in order, servers that outlive a restart, one up at a time."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.comparison import compare
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor
from tests.harness.waiting import until
from tests.harness.witness import Witness

pytestmark = pytest.mark.hub

CHOICE = {"group": "trial", "size": "small", "environment": "tiny"}
ORDINARY = "nobody"


@pytest.fixture
def witness() -> Iterator[Witness]:
    with tempfile.TemporaryDirectory(prefix="dachub-witness-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Witness(Path(directory))


def tiny(witness: Witness, **servers: object) -> dict[str, object]:
    return {"servers": {"environments": [witness.environment()], **servers}}


def admin_of(platform: Platform) -> Visitor:
    admin = Visitor(platform.url, platform.admin_name(), platform.admin_password())
    admin.login()
    assert admin.is_logged_in()
    return admin


def test_servers_outlive_a_restart_and_are_charged_without_a_gap(witness: Witness) -> None:
    with Platform(tiny(witness)) as platform, admin_of(platform) as admin:
        assert admin.start(**CHOICE).status_code == 201
        [run] = witness.runs()
        assert platform.interrupt() == 0
        assert not run.is_over, "the server outlives the platform"
        platform.start()
        assert admin.servers()[""]["ready"], "the new hub has found it"
        [session] = platform.sessions()
        assert (session["session_id"], session["state"]) == (run.session_id, "running")
        admin.stop()
        admin.wait_until_stopped()
        until(lambda: platform.sessions()[0]["state"] == "ended", "the ledger closed it")
        result = compare(platform.sessions(), witness.runs(), {}, [])
        assert (result.exact, result.inexact, result.lost) == (1, [], [])


def test_servers_end_with_the_platform_where_the_site_wants_it(witness: Witness) -> None:
    with Platform(tiny(witness, survive_hub_restart=False)) as platform:
        with admin_of(platform) as admin:
            assert admin.start(**CHOICE).status_code == 201
        assert platform.interrupt(signal.SIGTERM) == 0
        [run] = witness.runs()
        until(lambda: run.is_over, "the server ended")
        platform.start()
        until(lambda: platform.sessions()[0]["state"] == "ended", "the ledger closed it")
        result = compare(platform.sessions(), witness.runs(), {}, [])
        assert (result.exact + result.estimated, result.lost, result.overcharged) == (1, [], [])


def test_ctrl_c_ends_every_part_in_order(witness: Witness) -> None:
    with Platform(tiny(witness)) as platform:
        pids = platform.pids()
        assert set(pids) == {"postgres", "service", "hub", "proxy"}
        started = time.monotonic()
        assert platform.interrupt() == 0
        assert time.monotonic() - started < 30
        for part, pid in pids.items():
            assert not Path(f"/proc/{pid}").exists(), f"{part} is still there"
        log = (platform.data / "logs" / "postgres.log").read_text()
        assert "database system is shut down" in log, "PostgreSQL stopped cleanly, as the last"
        assert "Traceback" not in platform.output.read_text()


def test_a_killed_up_leaves_nothing_in_the_way_of_the_next(witness: Witness) -> None:
    with Platform(tiny(witness)) as platform, admin_of(platform) as admin:
        assert admin.start(**CHOICE).status_code == 201
        pids = platform.pids()
        os.kill(platform.pid, signal.SIGKILL)
        until(
            lambda: not any(Path(f"/proc/{pids[part]}").exists() for part in ("hub", "service")),
            "no part outlives its supervisor",
        )
        platform.start()
        assert admin.servers()[""]["ready"]
        [session] = platform.sessions()
        assert session["state"] == "running"


def test_a_second_up_on_the_same_data_is_refused(witness: Witness) -> None:
    with Platform(tiny(witness)) as platform:
        second = subprocess.run(
            platform.command("up", "--data", str(platform.data), "--port", "0"),
            capture_output=True,
            text=True,
            timeout=60,
            env=platform.environ(),
            check=False,
        )
        assert second.returncode != 0
        assert "Traceback" not in second.stderr + second.stdout
        assert platform.healthy(), "the first one does not mind"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_as_root_people_cannot_read_one_another_nor_the_platform(witness: Witness) -> None:
    with Platform(tiny(witness)) as platform:
        for name in ("ada", "grace"):
            platform.dachub("user", "add", name, "--password-stdin", stdin="a-long-password")
            platform.dachub("group", "add-member", "trial", name)
            with Visitor(platform.url, name, "a-long-password") as person:
                person.login()
                assert person.start(**CHOICE).status_code == 201
        accounts = {run.username: _account_of(run.pid) for run in witness.runs()}
        assert accounts["ada"].pw_uid != accounts["grace"].pw_uid
        assert 0 not in {account.pw_uid for account in accounts.values()}

        home = platform.data / "homes" / "grace"
        (home / "thesis.txt").write_text("mine")
        ada = accounts["ada"]
        assert _may_list(ada, platform.data / "homes" / "ada")
        assert not _may_list(ada, home)
        assert not _may_read(ada, home / "thesis.txt")
        hers = {platform.data / path for path in ("homes/ada", "group-links/ada", "groups/trial")}
        for secret in sorted(platform.data.rglob("*")):
            if not hers.isdisjoint((secret, *secret.parents)):
                continue
            if secret.is_file():
                assert not _may_read(ada, secret), f"{secret} is readable"
            if secret.is_dir():
                assert not _may_list(ada, secret), f"{secret} can be listed"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_as_an_ordinary_user_it_works_and_warns(witness: Witness) -> None:
    with Platform(tiny(witness), account=ORDINARY) as platform, admin_of(platform) as admin:
        assert admin.start(**CHOICE).status_code == 201
        [run] = witness.runs()
        assert _account_of(run.pid).pw_name == ORDINARY
        assert "NOT protected from" in platform.output.read_text()
        admin.stop()
        admin.wait_until_stopped()


def _account_of(pid: int) -> pwd.struct_passwd:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid)


def _may(account: pwd.struct_passwd, *command: str) -> bool:
    run = subprocess.run(
        command,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        capture_output=True,
        check=False,
        cwd="/",
    )
    return run.returncode == 0


def _may_read(account: pwd.struct_passwd, path: Path) -> bool:
    return _may(account, "head", "-c", "1", str(path))


def _may_list(account: pwd.struct_passwd, path: Path) -> bool:
    return _may(account, "ls", str(path))
