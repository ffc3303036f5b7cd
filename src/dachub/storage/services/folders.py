"""The groups' folders: who may come in follows from who is a member, at once.

A folder belongs to the system and has, like a door, an access control list with an entry for each
member. The kernel asks it whenever a path through it is opened; Unix groups would not do, because
a process keeps them for as long as it runs. Inside, all belongs to the group of all people, which
every server has and which is worth nothing before the door: so everybody inside may change
what others made. For those who leave, see :mod:`dachub.storage.folders.shutting`.
"""

from __future__ import annotations

import asyncio
import fcntl
import grp
import os
import pwd
import stat
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from dachub.model.names import UNIX_GROUP
from dachub.model.problems import DachubError
from dachub.storage.folders import acl
from dachub.storage.folders.acl import ANYBODY, Acl, Tag
from dachub.storage.settings import StorageSettings

log = structlog.get_logger(__name__)

MODE = 0o2770
COMPLAINTS_MAX = 5
NO_PLACE = "the configuration came from no file: there is no place for folders"
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
    """Some folders are not yet as the directory of people says."""

    code = "group-folders-failed"
    status = 500


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
        """Let doors and links be as ``members`` (by group) says; quick.

        Raises
        ------
        FoldersFailed
            If something could not be done; the rest is.
        """
        if not self._folders.is_absolute():
            return NO_PLACE
        if os.geteuid() != 0:
            await asyncio.to_thread(self._follow_plainly, members)
        else:
            _complain(await asyncio.to_thread(self._follow_as_root, members))
        return f"{len(members)} folders"

    async def clear(self, members: Callable[[], Awaitable[Mapping[str, Collection[str]]]]) -> str:
        """Shut who left out of all that is inside, and let in again who came back; may take long.

        Nobody comes in by it: the next :meth:`follow` opens the door.

        Parameters
        ----------
        members
            Asked at the beginning, and after each folder: people may have changed their minds.

        Raises
        ------
        FoldersFailed
            If something could not be done; it is tried again the next time.
        """
        changing: list[Changing] = []
        if os.geteuid() == 0 and self._folders.is_absolute():
            changing = await asyncio.to_thread(self._changing, await members())
        failed = []
        for each in changing:
            if complaint := await self._clear(each):
                failed.append(complaint)
            else:
                await asyncio.to_thread(self._settle, each, await members())
        _complain(failed)
        return f"{len(changing)} folders changed"

    # --- One account for all --------------------------------------------------------------------

    def _follow_plainly(self, members: Mapping[str, Collection[str]]) -> None:
        """Folders and links; nothing protects people from each other here anyway."""
        for group in members:
            (self._folders / group).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._links.mkdir(mode=0o700, parents=True, exist_ok=True)
        by_person = _by_person(members)
        for username, groups in by_person.items():
            (self._links / username).mkdir(mode=0o700, exist_ok=True)
            self._link(username, groups)
        self._unlink_others(by_person)

    # --- An account for each --------------------------------------------------------------------

    def _follow_as_root(self, members: Mapping[str, Collection[str]]) -> list[str]:
        """What went wrong."""
        accounts = _accounts()
        if not accounts:  # nobody has had a server yet
            return []
        for directory in (self._folders, self._links):
            _make_passable(directory)
        there = {entry.name for entry in self._folders.iterdir() if entry.name not in members}
        gone = {name for name in there if _door_of(self._folders / name)}
        failed: list[str] = []
        inside: dict[str, list[str]] = {}
        for group in (*members, *gone):
            usernames = {
                accounts[username].pw_uid: username
                for username in members.get(group, ())
                if username in accounts
            }
            try:
                opened = self._door(group, set(usernames))
            except OSError as error:
                failed.append(f"{group}: {error.strerror or error}")
            else:
                inside[group] = [usernames[uid] for uid in opened]
        by_person = _by_person(inside)
        for username, groups in by_person.items():
            self._link_directory(username, accounts[username])
            self._link(username, groups)
        self._unlink_others(by_person)
        return failed

    def _door(self, group: str, uids: set[int]) -> set[int]:
        """Set the folder's own list; who may come in."""
        with suppress(FileExistsError):
            (self._folders / group).mkdir(mode=0o700)
        with _held(self._folders / group) as folder:
            before = acl.users(acl.read(folder))
            members = {uid: OPEN if before.get(uid, OPEN) == OPEN else CHANGING for uid in uids}
            others = {uid: CHANGING if before[uid] else SHUT for uid in set(before) - uids}
            _set_door(folder, members | others)
        return {uid for uid, permissions in members.items() if permissions == OPEN}

    def _changing(self, members: Mapping[str, Collection[str]]) -> list[Changing]:
        accounts = _accounts()
        found = []
        for entry in self._folders.iterdir() if self._folders.is_dir() else ():
            uids = _uids(members.get(entry.name, ()), accounts)
            changing = {
                uid for uid, permissions in _door_of(entry).items() if permissions == CHANGING
            }
            if changing:
                found.append(
                    Changing(entry, frozenset(changing - uids), frozenset(changing & uids))
                )
        return found

    async def _clear(self, changing: Changing) -> str:
        """Change what is inside; what went wrong."""
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
            return f"{changing.folder.name}: {lines[-1]}"
        log.info(
            "group folder followed its members",
            group=changing.folder.name,
            shut_out=sorted(changing.shut),
            let_in_again=sorted(changing.reopened),
        )
        return ""

    def _settle(self, changing: Changing, members: Mapping[str, Collection[str]]) -> None:
        """Note at the door that it is done; who came back and left again, is to be shut out."""
        back = changing.reopened & _uids(members.get(changing.folder.name, ()), _accounts())
        with _held(changing.folder) as folder:
            left = {
                uid: SHUT if uid in changing.shut else permissions
                for uid, permissions in acl.users(acl.read(folder)).items()
                if uid not in back
            }
            _set_door(folder, left)

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

    def _unlink_others(self, people: Collection[str]) -> None:
        """Who is in no group, or gone for good, leaves nothing here."""
        for directory in self._links.iterdir():
            if directory.name not in people:
                self._link(directory.name, ())
                directory.rmdir()


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
def _held(path: Path) -> Iterator[int]:
    """A directory, if it is one itself and no link, for us alone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _door_of(path: Path) -> dict[int, int]:
    """Who has an entry at a door; nobody where it is not ours."""
    try:
        with _held(path) as folder:
            return acl.users(acl.read(folder))
    except OSError:
        return {}


def _complain(failed: Collection[str]) -> None:
    if failed:
        raise FoldersFailed("; ".join(list(failed)[:COMPLAINTS_MAX]))


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


def _uids(usernames: Collection[str], accounts: Mapping[str, pwd.struct_passwd]) -> frozenset[int]:
    return frozenset(accounts[one].pw_uid for one in usernames if one in accounts)


def _by_person(members: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group, usernames in members.items():
        for username in usernames:
            found.setdefault(username, set()).add(group)
    return found
