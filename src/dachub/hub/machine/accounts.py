"""Unix accounts of people, where the hub runs as root: made by us, never anybody else's."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from dachub.model.names import UNIX_GROUP, is_username
from dachub.model.problems import Conflict, DachubError

TIMEOUT_SECONDS = 30
GROUPS_LINK = "groups"
# useradd locks /etc/passwd and gives up quickly when somebody else has the lock.
_one_at_a_time = threading.Lock()


class AccountTaken(Conflict):
    """The system has an account of that name that dachub did not make."""

    code = "unix-account-taken"


class AccountFailed(DachubError):
    """The account or home could not be made."""

    code = "unix-account-failed"
    status = 500


def ensure_account(username: str, home: Path) -> pwd.struct_passwd:
    """The person's Unix account, made if there is none. Blocks: for a thread.

    Raises
    ------
    AccountTaken
        If an account of that name exists that is not ours: it might be a system service's.
    AccountFailed
        If it cannot be made.
    """
    if not is_username(username):
        raise AccountFailed(f"'{username[:40]}' cannot be a Unix account.")
    with _one_at_a_time:
        members = _members()
        account = _account(username)
        if account is None:
            _useradd(username, home)
            account = _account(username)
        elif username not in members:
            raise AccountTaken(
                f"The machine already has an account '{username}' that is not managed here. "
                "Your administrator must rename one of the two."
            )
    if account is None or account.pw_uid == 0:
        raise AccountFailed(f"The account '{username}' could not be made.")
    return account


def known_account(username: str) -> pwd.struct_passwd | None:
    """The person's Unix account, if we made it already. Blocks: for a thread."""
    try:
        ours = grp.getgrnam(UNIX_GROUP).gr_mem
    except KeyError:
        return None
    return _account(username) if username in ours else None


def ensure_home(home: Path, owner: pwd.struct_passwd | None) -> None:
    """The person's home, mode 0700. Blocks: for a thread.

    Raises
    ------
    AccountFailed
        If it belongs to somebody else or cannot be made.
    """
    try:
        home.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            home.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            if owner is not None:
                os.chown(home, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        found = home.lstat()
    except OSError as error:
        raise AccountFailed(
            f"Your home directory cannot be made ({error.strerror}). Ask your administrator."
        ) from error
    uid = owner.pw_uid if owner is not None else os.getuid()
    if not home.is_dir() or home.is_symlink() or found.st_uid != uid:
        raise AccountFailed(
            "Your home directory belongs to another account. Ask your administrator to look at it."
        )
    if found.st_mode & 0o077:
        home.chmod(0o700)


def link_groups(home: Path, folders: Path, owner: pwd.struct_passwd | None) -> None:
    """Put a link to the folders of the person's groups into their home, if there is room.

    What of that name is there already is theirs and stays. Blocks: for a thread.
    """
    link = home / GROUPS_LINK
    with suppress(OSError):
        link.symlink_to(folders)
        if owner is not None:
            os.chown(link, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _account(username: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(username)
    except KeyError:
        return None


def _members() -> list[str]:
    try:
        return grp.getgrnam(UNIX_GROUP).gr_mem
    except KeyError:
        _run("groupadd", "--system", UNIX_GROUP)
        return []


def _useradd(username: str, home: Path) -> None:
    _run(
        "useradd",
        "--no-create-home",
        f"--home-dir={home}",
        "--user-group",
        f"--groups={UNIX_GROUP}",
        "--shell=/bin/bash",
        "--comment=dachub",
        username,
    )


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise AccountFailed(
            f"The machine could not make an account ({command[0]}: "
            f"{said.decode(errors='replace').strip()[:200] or error}). Ask your administrator."
        ) from error
