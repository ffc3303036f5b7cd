"""Groups' folders, on a real file system and with real accounts: who comes in, who no longer."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import stat
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from dachub.hub.machine.accounts import ensure_account
from dachub.model.names import UNIX_GROUP
from dachub.storage.folders import acl
from dachub.storage.folders.acl import Tag
from dachub.storage.services import FolderService
from dachub.storage.services.folders import FoldersFailed
from dachub.storage.settings import StorageSettings

root = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="only root has accounts")]
DENIED = "PermissionError"
LOOP = """
import json, os, sys
for line in sys.stdin:
    try:
        exec(json.loads(line), globals())
        said = "ok"
    except OSError as error:
        said = type(error).__name__
    print(said, flush=True)
"""


class Person:
    """A program of somebody's that runs on while groups change; it does what it is told."""

    def __init__(self, username: str) -> None:
        account = pwd.getpwnam(username)
        self.username = username
        self.uid = account.pw_uid
        self._process = subprocess.Popen(
            ["/usr/bin/python3", "-I", "-u", "-c", LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[grp.getgrnam(UNIX_GROUP).gr_gid],
            umask=0o007,
            cwd="/",
        )

    def does(self, code: str) -> str:
        """Run one statement; ``ok`` or the name of the error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def usernames() -> Iterator[list[str]]:
    mark = uuid4().hex[:6]
    names = [f"g{mark}{letter}" for letter in "abc"]
    for name in names:
        ensure_account(name, Path("/nonexistent") / name)
    yield names
    for name in names:
        subprocess.run(["userdel", name], check=False, capture_output=True)


@pytest.fixture
def people(usernames: list[str]) -> Iterator[list[Person]]:
    with ExitStack() as ends:
        started = [Person(name) for name in usernames]
        for person in started:
            ends.callback(person.close)
        yield started


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that every account may pass through."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


Follow = Callable[[Mapping[str, list[Person]]], str]


def told(*answers: dict[str, list[str]]) -> Callable[[], Awaitable[dict[str, list[str]]]]:
    """Who is in which group, each time it is asked; the last answer stays."""
    left = list(answers)

    async def members() -> dict[str, list[str]]:
        return left.pop(0) if len(left) > 1 else left[0]

    return members


@pytest.fixture
def follow(top: Path) -> Follow:
    service = FolderService(StorageSettings(groups=top / "groups", group_links=top / "links"))

    def run(members: Mapping[str, list[Person]]) -> str:
        names = {group: [person.username for person in who] for group, who in members.items()}
        before = os.umask(0o077)  # as the service has it
        try:
            asyncio.run(service.follow(names))
            asyncio.run(service.clear(told(names)))
            return asyncio.run(service.follow(names))
        finally:
            os.umask(before)

    return run


class TestWithAccounts:
    pytestmark = root

    def test_members_change_what_others_made_and_nobody_else_comes_in(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, eve = people
        follow({"virgo": [ada, bob]})
        folder = top / "groups/virgo"
        assert (
            ada.does(f"os.mkdir('{folder}/deep'); open('{folder}/deep/table', 'w').write('1')")
            == "ok"
        )
        assert bob.does(f"open('{folder}/deep/table', 'a').write('2')") == "ok"
        assert bob.does(f"os.rename('{folder}/deep/table', '{folder}/table')") == "ok"
        assert (folder / "table").read_text() == "12"
        for status in (folder.stat(), (folder / "deep").stat(), (folder / "table").stat()):
            assert status.st_gid == grp.getgrnam(UNIX_GROUP).gr_gid
            assert status.st_mode & 0o007 == 0
        # What was copied from a home with the servers' umask is open to members as well.
        assert (
            ada.does(f"os.close(os.open('{folder}/copied', os.O_CREAT | os.O_WRONLY, 0o660))")
            == "ok"
        )
        assert bob.does(f"open('{folder}/copied', 'w').write('')") == "ok"
        for attempt in (
            "os.listdir('{}')",
            "open('{}/table')",
            "os.chdir('{}')",
            "open('{}/x', 'w')",
        ):
            assert eve.does(attempt.format(folder)) == DENIED
        assert bob.does(f"os.rename('{folder}', '{folder}-mine')") == DENIED
        assert bob.does(f"os.chmod('{folder}', 0o777)") == DENIED

    def test_who_joins_comes_in_at_once(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, _ = people
        follow({"virgo": [ada]})
        folder = top / "groups/virgo"
        assert ada.does(f"open('{folder}/old', 'w').write('1')") == "ok"
        assert bob.does(f"os.listdir('{folder}')") == DENIED
        follow({"virgo": [ada, bob]})
        assert bob.does(f"open('{folder}/old', 'a').write('2')") == "ok"
        links = top / "links" / bob.username
        assert bob.does(f"open('{links}/virgo/old')") == "ok"
        assert ada.does(f"os.listdir('{links}')") == DENIED

    def test_who_leaves_is_out_at_once_also_what_of_theirs_is_inside(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, _ = people
        follow({"virgo": [ada, bob]})
        folder = top / "groups/virgo"
        home = top / "home"
        home.mkdir()
        os.chown(home, bob.uid, bob.uid)
        ada.does(
            f"os.makedirs('{folder}/deep/deeper'); open('{folder}/deep/secret', 'w').write('1')"
        )
        bob.does(f"os.mkdir('{folder}/mine'); open('{folder}/mine/own', 'w').write('1')")
        # Ways to stay: a working directory, an open one, one's own, other names for files.
        assert bob.does(f"os.chdir('{folder}/deep')") == "ok"
        assert bob.does(f"at = os.open('{folder}/mine', os.O_RDONLY)") == "ok"
        assert bob.does(f"os.link('{folder}/deep/secret', '{home}/kept')") == "ok"
        assert bob.does(f"os.link('{folder}/mine/own', '{home}/own')") == "ok"

        follow({"virgo": [ada]})
        for attempt in (
            f"os.listdir('{folder}')",
            f"open('{folder}/deep/secret')",
            "open('secret')",
            "open('deeper/new', 'w')",
            "os.listdir('.')",
            "open('own', opener=lambda name, flags: os.open(name, flags, dir_fd=at))",
            "os.mkdir('new', dir_fd=at)",
            "os.fchmod(at, 0o777)",
            f"open('{home}/kept')",
            f"open('{home}/own', 'a')",
            f"os.chmod('{home}/own', 0o666)",
        ):
            assert bob.does(attempt) in {DENIED, "FileNotFoundError"}, attempt
        assert not (top / "links" / bob.username / "virgo").exists()
        assert ada.does(f"open('{folder}/mine/own', 'a').write('2')") == "ok"
        assert ada.does(f"open('{folder}/deep/secret', 'a').write('2')") == "ok"

        follow({"virgo": [ada, bob]})
        assert bob.does("open('secret', 'a').write('3')") == "ok"
        follow({"virgo": [ada, bob]})
        assert bob.does(f"open('{top}/links/{bob.username}/virgo/deep/secret')") == "ok"
        assert (
            bob.does("open('own', 'a', opener=lambda name, flags: os.open(name, flags, dir_fd=at))")
            == "ok"
        )
        assert (folder / "deep/secret").read_text() == "123"
        assert not acl.users(acl.read(str(folder / "deep")))

    def test_a_service_killed_between_door_and_content_goes_on_where_it_was(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, _ = people
        follow({"virgo": [ada, bob]})
        folder = top / "groups/virgo"
        ada.does(f"os.mkdir('{folder}/deep')")
        bob.does(f"os.chdir('{folder}/deep')")
        service = FolderService(StorageSettings(groups=top / "groups", group_links=top / "links"))
        for members, inside in (([ada], "ok"), ([ada, bob], DENIED)):
            # The door comes first, and it alone until the next service clears the folder.
            asyncio.run(service.follow({"virgo": [one.username for one in members]}))
            assert bob.does(f"os.listdir('{folder}')") == DENIED
            assert bob.does("os.listdir('.')") == inside
            assert not (top / "links" / bob.username / "virgo").is_symlink()
            follow({"virgo": members})
            after = "ok" if bob in members else DENIED
            assert bob.does(f"os.listdir('{folder}')") == after
            assert bob.does("os.listdir('.')") == after

    def test_who_leaves_again_while_they_are_let_in_stays_out(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, _ = people
        follow({"virgo": [ada, bob]})
        ada.does(f"os.mkdir('{top}/groups/virgo/deep')")
        bob.does(f"os.chdir('{top}/groups/virgo/deep')")
        follow({"virgo": [ada]})
        service = FolderService(StorageSettings(groups=top / "groups", group_links=top / "links"))
        both, one = {"virgo": [ada.username, bob.username]}, {"virgo": [ada.username]}
        asyncio.run(service.follow(both))
        asyncio.run(service.clear(told(both, one)))
        assert bob.does(f"os.listdir('{top}/groups/virgo')") == DENIED
        follow({"virgo": [ada]})
        assert bob.does("os.listdir('.')") == DENIED

    def test_a_group_that_is_gone_loses_its_members_and_no_data(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, *_ = people
        follow({"virgo": [ada], "coma": [ada]})
        folder = top / "groups/virgo"
        ada.does(f"open('{folder}/table', 'w').write('1')")
        (top / "groups/lost+found").mkdir(mode=0o755)
        (top / "links/forgotten").mkdir()
        (top / "links/forgotten/virgo").symlink_to(folder)
        follow({"coma": [ada]})
        assert not (top / "links/forgotten").exists()
        assert ada.does(f"open('{folder}/table')") == DENIED
        assert (folder / "table").read_text() == "1"
        assert {link.name for link in (top / "links" / ada.username).iterdir()} == {"coma"}
        assert stat.S_IMODE((top / "groups/lost+found").stat().st_mode) == 0o755

    def test_what_a_member_puts_in_the_way_leads_nowhere(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        """While people are shut out, one of them swaps a directory and a link all the time."""
        ada, bob, eve = people
        follow({"virgo": [ada, bob]})
        folder = top / "groups/virgo"
        outside = top / "outside"
        outside.mkdir(mode=0o700)
        (outside / "inner").mkdir()
        os.chown(outside, eve.uid, eve.uid)
        before = (outside.stat(), acl.read(str(outside)), (outside / "inner").stat())
        ada.does(f"os.chdir('{folder}'); os.symlink('{outside}', 'link'); os.mkfifo('pipe')")
        for number in range(100):
            ada.does(f"os.makedirs('many/{number}/below')")
        over, swaps = threading.Event(), []

        def swap() -> None:
            while not over.is_set():
                outcome = ada.does(
                    f"for n in range(100): os.rename(f'many/{{n}}', 'aside'); "
                    f"os.symlink('{outside}', f'many/{{n}}'); os.unlink(f'many/{{n}}'); "
                    f"os.rename('aside', f'many/{{n}}')"
                )
                swaps.append(outcome)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for members in ([ada], [ada, bob], [ada]):
                follow({"virgo": members})
        finally:
            over.set()
            thread.join()
        assert set(swaps) == {"ok"}
        after = (outside.stat(), acl.read(str(outside)), (outside / "inner").stat())
        assert [status.st_uid for status in (after[0], after[2])] == [eve.uid, 0]
        assert after[1] == before[1]
        assert after[0].st_ctime_ns == before[0].st_ctime_ns

    def test_one_folder_that_cannot_be_set_holds_up_no_other(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        ada, bob, _ = people
        (top / "groups").mkdir(mode=0o711)
        (top / "groups/taken").mkdir()
        os.chown(top / "groups/taken", bob.uid, bob.uid)
        (top / "groups/linked").symlink_to(top)
        with pytest.raises(FoldersFailed) as caught:
            follow({"linked": [ada], "taken": [ada], "virgo": [ada]})
        assert "taken: the folder belongs to another account" in caught.value.message
        assert "linked" in caught.value.message
        assert ada.does(f"open('{top}/groups/virgo/table', 'w')") == "ok"
        assert not acl.users(acl.read(str(top)))

    def test_a_file_system_without_lists_lets_nobody_in_and_says_so(
        self, top: Path, follow: Follow, people: list[Person]
    ) -> None:
        groups = top / "groups"
        groups.mkdir(mode=0o711)
        options = ["-t", "ramfs", "ramfs", str(groups)]
        if subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            groups.chmod(0o711)
            with pytest.raises(FoldersFailed, match="virgo: Operation not supported"):
                follow({"virgo": [people[0]]})
            assert people[0].does(f"os.listdir('{groups}/virgo')") == DENIED
        finally:
            subprocess.run(["umount", str(groups)], check=True)


def test_lists_are_what_the_kernel_reads(top: Path) -> None:
    at = str(top)
    top.chmod(0o750)
    assert acl.read(at) == acl.minimal(0o750)
    assert acl.read(at, acl.DEFAULT) == {}
    shut = acl.with_shut_out(acl.read(at), {4001, 12}, {7})
    assert acl.users(shut) == {4001: 0, 12: 0}
    assert shut[Tag.MASK, acl.ANYBODY] == 5
    if os.geteuid() == 0:
        acl.write(at, shut)
        assert acl.read(at) == shut
        assert stat.S_IMODE(top.stat().st_mode) == 0o750
        acl.write(at, acl.with_shut_out(shut, (), {4001, 12}))
        assert acl.users(acl.read(at)) == {}


def test_under_one_account_there_are_folders_and_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings = StorageSettings(groups=tmp_path / "groups", group_links=tmp_path / "links")
    service = FolderService(settings)
    asyncio.run(service.follow({"virgo": ["ada", "bob"], "coma": ["ada"]}))
    (tmp_path / "links/ada/virgo/table").write_text("1")
    assert (tmp_path / "links/bob/virgo/table").read_text() == "1"
    asyncio.run(service.follow({"virgo": ["ada"], "coma": ["ada"]}))
    assert not (tmp_path / "links/bob").exists()
    assert (tmp_path / "groups/virgo/table").exists()
