"""People are told when somebody else changes their place in a group."""

from __future__ import annotations

import pytest
from tests.notices.conftest import OPERATOR

from dachub.directory.models import LastPI
from dachub.infra.clock import HeldClock
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import LoginRecord, Role
from dachub.server.factory import Factory


@pytest.fixture
async def group(factory: Factory, clock: HeldClock) -> str:
    for username in ("ada", "grace"):
        await factory.logins().record(
            LoginRecord(issuer="i", subject=username, candidate=username, at=clock.now())
        )
    await factory.groups().create(OPERATOR, "lensing", "Weak lensing")
    await factory.groups().set_pi(OPERATOR, "lensing", "ada")
    return "lensing"


async def told(factory: Factory, username: str) -> list[str]:
    return [notice.title for notice in await factory.notices().unread(username)]


async def test_each_change_is_told_to_whom_it_concerns(factory: Factory, group: str) -> None:
    ada = await factory.people().principal("ada")
    await factory.groups().put_member(ada, group, "grace", Role.MEMBER)
    await factory.groups().put_member(ada, group, "grace", Role.MEMBER)  # changes nothing
    await factory.groups().put_member(ada, group, "grace", Role.MANAGER)
    await factory.groups().remove_member(ada, group, "grace")
    assert await told(factory, "grace") == [
        "You no longer belong to Weak lensing",
        "You are now a manager of Weak lensing",
        "You are now a member of Weak lensing",
    ]
    newest = (await factory.notices().unread("grace"))[0]
    assert (newest.kind, newest.severity) == (NoticeKind.GROUP, Severity.WARNING)
    assert newest.text.startswith("@ada ended your membership")
    assert await told(factory, "ada") == ["You are now PI of Weak lensing"]


async def test_what_people_do_themselves_they_are_not_told(factory: Factory, group: str) -> None:
    ada = await factory.people().principal("ada")
    await factory.groups().put_member(ada, group, "grace", Role.MANAGER)
    grace = await factory.people().principal("grace")
    before = await told(factory, "grace")
    await factory.groups().remove_member(grace, group, "grace")
    assert await told(factory, "grace") == before


async def test_what_was_refused_is_not_told(factory: Factory, group: str) -> None:
    before = await told(factory, "ada")
    with pytest.raises(LastPI):
        await factory.groups().remove_member(OPERATOR, group, "ada")
    assert await told(factory, "ada") == before
