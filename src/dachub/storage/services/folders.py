"""The groups' folders: who may come in follows from who is a member, at once.

A folder belongs to the system and has, like a door, an access control list with an entry for each
member. The kernel asks it whenever a path through it is opened; Unix groups would not do, because
a process keeps them for as long as it runs. Inside, all belongs to the group of all people, which
every server has and which is worth nothing before the door: so everybody inside may change
what others made. For those who leave, see :mod:`dachub.storage.folders.shutting`.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from dachub.model.names import UNIX_GROUP
from dachub.model.problems import DachubError
from dachub.storage.folders import acl
from dachub.storage.folders.acl import ANYBODY, Acl, Tag
from dachub.storage.settings import StorageSettings

log = structlog.get_logger(__name__)

MODE = 0o2770
OPEN = acl.ALL
SHUT = acl.NOTHING
CHANGING = 2
"""Writing without entering is worth nothing: it marks whose entries inside are not done yet."""
INSIDE: Acl = {
    (Tag.OWNER, ANYBODY): acl.ALL,
    (Tag.OWNING_GROUP, ANYBODY): acl.ALL,
    (Tag.OTHER, ANYBODY): acl.NOTHING,
}
"""What is made inside starts with it, whatever the umask."""


class FoldersFailed(DachubError):
    """Some folders are not as the directory of people says; their doors are."""

    code = "group-folders-failed"
    status = 500


@dataclass(slots=True)
class Outcome:
    """What was done."""

    opened: int = 0
    shut: int = 0
    failed: list[str] = field(default_factory=list)

    def summary(self, folders: int) -> str:
        """On one line, for people."""
        return f"{folders} folders, {self.opened} entries opened, {self.shut} shut"


@dataclass(frozen=True, slots=True)
class Changing:
    """A folder in which accounts must be shut out by name, or are no longer."""

    folder: Path
    shut: frozenset[int]
    reopened: frozenset[int]


class FolderService:
    """Makes the folders, and the links by which people find those of their groups.

    Nothing is ever deleted: the folder of a group that is gone is closed to everybody.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._folders = settings.groups
        self._links = settings.group_links

    async def follow(self, members: Mapping[str, Collection[str]]) -> str:
        """Let everything be as ``members`` (by group) says.

        Raises
        ------
        FoldersFailed
            If something could not be done; the rest is.
        """
        outcome = Outcome()
        if os.geteuid() != 0:
            await asyncio.to_thread(self._follow_plainly, members)
            return outcome.summary(len(members))
        for changing in await asyncio.to_thread(self._follow_as_root, members, outcome):
            await self._change(changing, outcome)
        if outcome.failed:
            raise FoldersFailed("; ".join(outcome.failed[:5]))
        return outcome.summary(len(members))

    # --- One account for all --------------------------------------------------------------------

    def _follow_plainly(self, members: Mapping[str, Collection[str]]) -> None:
        """Folders and links; nothing protects people from each other here anyway."""
        for group in members:
            (self._folders / group).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._links.mkdir(mode=0o700, parents=True, exist_ok=True)
        by_person = _by_person(members)
        for username in {*by_person, *(entry.name for entry in self._links.iterdir())}:
            (self._links / username).mkdir(mode=0o700, exist_ok=True)
            self._link(username, by_person.get(username, set()))

    # --- An account for each --------------------------------------------------------------------

    def _follow_as_root(
        self, members: Mapping[str, Collection[str]], outcome: Outcome
    ) -> list[Changing]:
        accounts = _accounts()
        if not accounts:  # nobody has had a server yet
            return []
        for directory in (self._folders, self._links):
            _make_passable(directory)
        there = {entry.name for entry in self._folders.iterdir() if entry.name not in members}
        gone = {name for name in there if _is_door(self._folders / name)}
        changing: list[Changing] = []
        inside: dict[str, list[str]] = {}
        for group in (*members, *gone):
            uids = {
                accounts[username].pw_uid: username
                for username in members.get(group, ())
                if username in accounts
            }
            try:
                found = self._door(group, set(uids), outcome)
            except OSError as error:
                outcome.failed.append(f"{group}: {error.strerror or error}")
                continue
            if found is not None:
                changing.append(found)
            waiting = found.reopened if found is not None else ()
            inside[group] = [username for uid, username in uids.items() if uid not in waiting]
        by_person = _by_person(inside)
        for username, account in accounts.items():
            if username in by_person or (self._links / username).is_dir():
                self._link_directory(username, account)
                self._link(username, by_person.get(username, set()))
        return changing

    def _door(self, group: str, uids: set[int], outcome: Outcome) -> Changing | None:
        """Set the folder's own list; whom its content must be changed for."""
        with suppress(FileExistsError):
            (self._folders / group).mkdir(mode=0o700)
        with _opened(self._folders / group) as folder:
            before = acl.users(acl.read(folder))
            after = {uid: OPEN if before.get(uid, OPEN) == OPEN else CHANGING for uid in uids} | {
                uid: CHANGING if before[uid] else SHUT for uid in before if uid not in uids
            }
            _set_door(folder, after)
        outcome.opened += len(uids - set(before))
        changing = {uid for uid, permissions in after.items() if permissions == CHANGING}
        if not changing:
            return None
        return Changing(
            self._folders / group, frozenset(changing - uids), frozenset(changing & uids)
        )

    async def _change(self, changing: Changing, outcome: Outcome) -> None:
        """Change what is inside, then note at the door that it is done."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dachub.storage.folders.shutting", str(changing.folder)),
            *("--shut", *map(str, changing.shut), "--reopened", *map(str, changing.reopened)),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, complaint = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            lines = complaint.decode(errors="replace").splitlines() or ["it was ended"]
            outcome.failed.append(f"{changing.folder.name}: {lines[-1]}")
            return
        log.info(
            "group folder followed its members",
            group=changing.folder.name,
            shut_out=sorted(changing.shut),
            let_in_again=sorted(changing.reopened),
        )
        await asyncio.to_thread(self._settle, changing)
        outcome.opened += len(changing.reopened)
        outcome.shut += len(changing.shut)

    def _settle(self, changing: Changing) -> None:
        with _opened(changing.folder) as folder:
            settled = dict.fromkeys(changing.shut, SHUT) | dict.fromkeys(changing.reopened, OPEN)
            _set_door(folder, acl.users(acl.read(folder)) | settled)

    # --- Links ----------------------------------------------------------------------------------

    def _link_directory(self, username: str, account: pwd.struct_passwd) -> None:
        directory = self._links / username
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.stat()
        if (found.st_gid, stat.S_IMODE(found.st_mode)) != (account.pw_gid, 0o750):
            os.chown(directory, 0, account.pw_gid)
            directory.chmod(0o750)

    def _link(self, username: str, groups: Collection[str]) -> None:
        directory = self._links / username
        there = {entry.name for entry in directory.iterdir()}
        for group in there - set(groups):
            (directory / group).unlink()
        for group in set(groups) - there:
            (directory / group).symlink_to(self._folders / group)


def _set_door(folder: int, accounts: Mapping[int, int]) -> None:
    """Owner, mode and lists of a folder; what is right already is not written again."""
    found = os.fstat(folder)
    gid = grp.getgrnam(UNIX_GROUP).gr_gid
    if found.st_uid != 0:
        raise PermissionError(0, "the folder belongs to another account")
    door = {
        (Tag.OWNER, ANYBODY): acl.ALL,
        (Tag.OWNING_GROUP, ANYBODY): acl.NOTHING,
        (Tag.MASK, ANYBODY): acl.ALL,
        (Tag.OTHER, ANYBODY): acl.NOTHING,
        **{(Tag.USER, uid): permissions for uid, permissions in accounts.items()},
    }
    if acl.read(folder) != door:
        acl.write(folder, door)
    if acl.read(folder, acl.DEFAULT) != INSIDE:
        acl.write(folder, INSIDE, acl.DEFAULT)
    if found.st_gid != gid:
        os.fchown(folder, 0, gid)
    if stat.S_IMODE(os.fstat(folder).st_mode) != MODE:
        os.fchmod(folder, MODE)


def _make_passable(directory: Path) -> None:
    """A directory that people pass through and look into no further, whatever the umask."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o011 != 0o011:
        directory.chmod(mode | 0o011)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A directory, if it is one itself and no link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_door(path: Path) -> bool:
    """Whether somebody was let in here; other directories are not ours."""
    try:
        with _opened(path) as folder:
            return bool(acl.users(acl.read(folder)))
    except OSError:
        return False


def _accounts() -> dict[str, pwd.struct_passwd]:
    """Unix accounts that dachub made, by name."""
    try:
        names = grp.getgrnam(UNIX_GROUP).gr_mem
    except KeyError:
        return {}
    found = {}
    for name in names:
        with suppress(KeyError):
            found[name] = pwd.getpwnam(name)
    return found


def _by_person(members: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group, usernames in members.items():
        for username in usernames:
            found.setdefault(username, set()).add(group)
    return found
