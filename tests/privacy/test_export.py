"""A person gets everything that is held about them, and nothing of anybody else."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.privacy.conftest import ADMIN, fill, holds, ran, sign_in

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.problems import NotFound, PermissionDenied
from dachub.privacy.services.export import ANOTHER_PERSON
from dachub.privacy.settings import PrivacySettings
from dachub.server.factory import Factory
from dachub.server.privacy import retain_sessions

DAY = timedelta(days=1)
ZORA = Principal(name="zora", kind=PrincipalKind.PERSON)


def read(archive: bytes) -> dict[str, Any]:
    """Files of an archive, JSON parsed."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {
            name: json.loads(opened.read(name))
            if name.endswith(".json")
            else opened.read(name).decode()
            for name in opened.namelist()
        }


async def exported(factory: Factory, by: Principal = ZORA) -> dict[str, Any]:
    return read((await factory.personal_data().of(by, "zora", "The Survey")).as_zip())


@pytest.fixture
async def people(factory: Factory, clock: HeldClock) -> None:
    """Zora, and Grace who leads their group."""
    await sign_in(factory, "zora", "Zora Lovelace")
    await sign_in(factory, "grace", "Grace Hopper", affiliations=["staff@navy.example"])
    await factory.groups().create(ADMIN, "photoz", "")
    await factory.groups().set_pi(ADMIN, "photoz", "grace")
    pi = await factory.people().principal("grace")
    await factory.groups().put_member(pi, "photoz", "zora", Role.MANAGER)
    await ran(factory, "zora", clock.now() - 30 * DAY, 30.5)
    await ran(factory, "grace", clock.now() - 30 * DAY, 2)


async def test_every_table_that_names_a_person_is_in_it(
    factory: Factory, people: None, db: AsyncSession, clock: HeldClock
) -> None:
    await fill(db, "zora", "zora", clock.now())
    files = await exported(factory)
    held = {place.split(".")[0] for place in await holds(db, "zora")}
    # Texts of others that mention a person are not about that person.
    assert held - {name.removesuffix(".json") for name in files} == set()
    assert {"session.json", "segment.json", "usage_day.json", "audit.json"} <= set(files)
    (segment,) = files["segment.json"]
    (session,) = files["session.json"]
    assert segment["session_id"] == session["session_id"]
    assert sum(day["milli_core_seconds"] for day in files["usage_day.json"]) == 109_800_000


async def test_nothing_of_anybody_else_is_in_it(factory: Factory, people: None) -> None:
    files = await exported(factory)
    # A notice is what the person was told, as it was told: here who made them a manager.
    text = json.dumps({name: rows for name, rows in files.items() if name != "notice.json"})
    for trace in ("grace", "Grace", "navy.example"):
        assert trace not in text
    (added,) = (
        entry for entry in files["audit.json"]
        if entry["action"] == "member-added" and entry["group"] == "photoz"
    )  # fmt: skip
    assert added["actor"] == ANOTHER_PERSON
    assert added["username"] == "zora"


async def test_what_one_decided_about_others_is_there_without_them(
    factory: Factory, people: None
) -> None:
    zora = await factory.people().principal("zora")
    await sign_in(factory, "mary")
    await factory.groups().put_member(zora, "photoz", "mary", Role.MEMBER)
    (entry,) = (
        entry for entry in (await exported(factory))["audit.json"] if entry["actor"] == "zora"
    )
    assert (entry["action"], entry["username"]) == ("member-added", ANOTHER_PERSON)


async def test_no_secret_is_in_it_and_the_readme_says_so(factory: Factory) -> None:
    await factory.accounts().add(ADMIN, "zora", password="correct horse battery")
    files = await exported(factory)
    assert "$argon2" not in json.dumps(files)
    (account,) = files["local_account.json"]
    assert set(account) == {"username", "changed_at"}
    assert "hash of your password" in files["README.txt"]
    assert "The Survey" in files["README.txt"]
    assert "local_account.json (1): The password of a local account" in files["README.txt"]


async def test_what_stands_under_the_pseudonym_already_is_in_it(
    db: AsyncSession, clock: HeldClock
) -> None:
    privacy = PrivacySettings(sessions_days=10)
    factory = Factory(Settings(privacy=privacy), db, clock)
    await sign_in(factory, "zora")
    await ran(factory, "zora", clock.now() - 30 * DAY, 1)
    await ran(factory, "zora", clock.now() - 1 * DAY, 1)
    assert await retain_sessions(factory, set()) == 1
    assert len((await exported(factory))["session.json"]) == 2


async def test_it_is_for_oneself_in_person_and_for_administrators(
    factory: Factory, people: None
) -> None:
    for by in (
        Principal(name="grace", kind=PrincipalKind.PERSON),
        Principal(name="zora", kind=PrincipalKind.SERVER),
        Principal(name="hub", kind=PrincipalKind.HUB),
    ):
        with pytest.raises(PermissionDenied):
            await exported(factory, by)
    await exported(factory, ADMIN)
    entries = await factory.audit().list(ADMIN, action="data-exported")
    assert [(entry.actor, entry.username) for entry in entries] == [(ADMIN.name, "zora")]
    with pytest.raises(NotFound):
        await factory.personal_data().of(ADMIN, "nobody-here", "x")
