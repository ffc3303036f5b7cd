"""People and a group with something on disk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.storage import Folder, StorageArea, StorageMethod, StorageUse
from dachub.server.factory import Factory
from dachub.storage.models import Measurement
from dachub.storage.settings import StorageSettings

OPERATOR = Principal("operator:tests", PrincipalKind.OPERATOR)
GIB = 1024**3
MEMBERS = {"ada": Role.PI, "max": Role.MANAGER, "mia": Role.MEMBER}


def person(name: str) -> Principal:
    """A person in their groups, as they are when they call."""
    roles = {"lensing": MEMBERS[name]} if name in MEMBERS else {}
    return Principal(name, PrincipalKind.PERSON, roles=roles)


@pytest.fixture
async def services(db: AsyncSession, clock: HeldClock) -> Factory:
    """Homes of 10 GiB and 1000 files; ada leads lensing, max manages it, mia is in it, eve not."""
    settings = Settings(storage=StorageSettings(home_bytes=10 * GIB, home_files=1000))
    made = Factory(settings, db, clock)
    for name in (*MEMBERS, "eve"):
        await made.accounts().add(OPERATOR, name, password="correct horse battery")
    await made.groups().create(OPERATOR, "lensing", "Lensing")
    for name, role in MEMBERS.items():
        await made.groups().put_member(OPERATOR, "lensing", name, role)
    return made


async def record(
    services: Factory,
    allocated_bytes: int,
    *,
    owner: str = "mia",
    area: StorageArea = StorageArea.HOME,
    files: int = 10,
    largest: Sequence[Folder] = (),
    requested: bool = False,
) -> StorageUse:
    """Keep what a walk found just now."""
    measured = Measurement(
        method=StorageMethod.WALK,
        bytes=allocated_bytes,
        allocated_bytes=allocated_bytes,
        files=files,
        largest=list(largest),
    )
    return await services.storage().record(area, owner, measured, requested=requested)
