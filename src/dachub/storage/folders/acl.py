"""POSIX access control lists, as the kernel keeps them in extended attributes.

``setfacl`` takes names, and who may write in a directory can put something else under a name; here
they are set through descriptors. The format is the kernel's interface to user space
(``linux/posix_acl_xattr.h``, version 2).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection, Mapping
from enum import IntEnum

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"
VERSION = 2
ANYBODY = 0xFFFFFFFF
"""Stands where an entry is for no certain account."""
ALL, NOTHING = 7, 0

_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


class Tag(IntEnum):
    """Whom an entry is for, in the kernel's order."""

    OWNER = 1
    USER = 2
    OWNING_GROUP = 4
    GROUP = 8
    MASK = 16
    OTHER = 32


Acl = Mapping[tuple[Tag, int], int]
"""Permissions (read 4, write 2, execute or enter 1) by whom they are for."""


def minimal(mode: int) -> dict[tuple[Tag, int], int]:
    """The list that says no more than the mode of a file."""
    return {
        (Tag.OWNER, ANYBODY): mode >> 6 & ALL,
        (Tag.OWNING_GROUP, ANYBODY): mode >> 3 & ALL,
        (Tag.OTHER, ANYBODY): mode & ALL,
    }


def read(at: str | int, name: str = ACCESS) -> dict[tuple[Tag, int], int]:
    """The list of a file or directory; empty where it has no default list.

    Raises
    ------
    OSError
        ``EOPNOTSUPP`` where the file system has no such lists.
    """
    try:
        value = os.getxattr(at, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return minimal(os.stat(at).st_mode) if name == ACCESS else {}  # noqa: PTH116  at may be a number
    return {
        (Tag(tag), account): permissions
        for tag, permissions, account in _ENTRY.iter_unpack(value[_HEADER.size :])
    }


def write(at: str | int, acl: Acl, name: str = ACCESS) -> None:
    """Give a file or directory a list; with entries for accounts it needs a mask.

    Raises
    ------
    OSError
        As :func:`read`; ``EINVAL`` for a list that the kernel does not take.
    """
    value = _HEADER.pack(VERSION)
    for (tag, account), permissions in sorted(acl.items()):
        value += _ENTRY.pack(tag, permissions, account)
    os.setxattr(at, name, value)


def users(acl: Acl) -> dict[int, int]:
    """Permissions of single accounts."""
    return {account: permissions for (tag, account), permissions in acl.items() if tag is Tag.USER}


def with_shut_out(
    acl: Acl, shut: Collection[int], reopened: Collection[int]
) -> dict[tuple[Tag, int], int]:
    """The list with some accounts shut out, whatever their groups may, and others no longer."""
    changed = {key: value for key, value in acl.items() if key not in _keys(reopened)}
    changed |= dict.fromkeys(_keys(shut), NOTHING)
    if users(changed):
        changed.setdefault((Tag.MASK, ANYBODY), changed[Tag.OWNING_GROUP, ANYBODY])
    return changed


def _keys(accounts: Collection[int]) -> set[tuple[Tag, int]]:
    return {(Tag.USER, account) for account in accounts}
