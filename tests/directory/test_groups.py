"""Groups: who may change what, the last PI, and the history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.directory.conftest import SignIn

from dachub.directory.models import LastPI, Principal, PrincipalKind, ProviderMembership
from dachub.infra.clock import HeldClock
from dachub.model.people import ClaimedMembership, Role
from dachub.model.problems import Conflict, NotFound, PermissionDenied
from dachub.server.factory import Factory

PEOPLE = ("pia", "max", "mia", "eve")


@pytest.fixture
async def campaign(factory: Factory, sign_in: SignIn, admin: Principal) -> str:
    """A group with the PI pia, the manager max, the member mia; eve is in no group."""
    for username in PEOPLE:
        await sign_in(username)
    await factory.groups().create(admin, "campaign", "Campaign", "What it is about")
    await factory.groups().set_pi(admin, "campaign", "pia")
    await factory.groups().put_member(admin, "campaign", "max", Role.MANAGER)
    await factory.groups().put_member(admin, "campaign", "mia", Role.MEMBER)
    return "campaign"


async def who(
    factory: Factory, username: str, kind: PrincipalKind = PrincipalKind.PERSON
) -> Principal:
    return await factory.people().principal(username, kind)


async def test_a_group_shows_its_pis_and_members(
    factory: Factory, campaign: str, admin: Principal
) -> None:
    group = await factory.groups().show(admin, campaign)
    assert group.pis == ["pia"]
    assert [(m.username, m.role) for m in group.members] == [
        ("max", Role.MANAGER),
        ("mia", Role.MEMBER),
        ("pia", Role.PI),
    ]


@pytest.mark.parametrize("username", ["pia", "max"])
async def test_managers_and_pis_add_members_and_managers(
    factory: Factory, campaign: str, username: str
) -> None:
    by = await who(factory, username)
    await factory.groups().put_member(by, campaign, "eve", Role.MEMBER)
    await factory.groups().put_member(by, campaign, "eve", Role.MANAGER)
    assert (await who(factory, "eve")).roles == {campaign: Role.MANAGER}
    await factory.groups().remove_member(by, campaign, "eve")
    assert (await who(factory, "eve")).roles == {}


@pytest.mark.parametrize("username", ["pia", "max"])
async def test_only_administrators_make_or_unmake_pis(
    factory: Factory, campaign: str, username: str, admin: Principal
) -> None:
    await factory.groups().set_pi(admin, campaign, "eve")
    by = await who(factory, username)
    with pytest.raises(PermissionDenied):
        await factory.groups().put_member(by, campaign, "mia", Role.PI)
    with pytest.raises(PermissionDenied):
        await factory.groups().put_member(by, campaign, "eve", Role.MEMBER)
    with pytest.raises(PermissionDenied):
        await factory.groups().remove_member(by, campaign, "eve")
    assert await factory.groups().pis(campaign) == ["eve", "pia"]


async def test_members_change_nothing_and_outsiders_see_nothing(
    factory: Factory, campaign: str
) -> None:
    mia, eve = await who(factory, "mia"), await who(factory, "eve")
    with pytest.raises(PermissionDenied):
        await factory.groups().put_member(mia, campaign, "eve", Role.MEMBER)
    with pytest.raises(PermissionDenied):
        await factory.groups().history(mia, campaign)
    for group in (campaign, "no-such-group"):
        with pytest.raises(NotFound, match=group):
            await factory.groups().show(eve, group)
        with pytest.raises(NotFound, match=group):
            await factory.groups().put_member(eve, group, "eve", Role.MEMBER)
    assert await factory.groups().list(eve) == []
    assert [group.slug for group in await factory.groups().list(mia)] == [campaign]


async def test_a_servers_token_cannot_change_groups(factory: Factory, campaign: str) -> None:
    by = await who(factory, "pia", PrincipalKind.SERVER)
    with pytest.raises(PermissionDenied, match="server"):
        await factory.groups().put_member(by, campaign, "eve", Role.MEMBER)
    assert (await factory.groups().show(by, campaign)).slug == campaign


async def test_the_last_pi_cannot_be_removed_or_demoted(
    factory: Factory, campaign: str, admin: Principal
) -> None:
    with pytest.raises(LastPI, match=campaign):
        await factory.groups().remove_member(admin, campaign, "pia")
    with pytest.raises(LastPI):
        await factory.groups().put_member(admin, campaign, "pia", Role.MANAGER)
    assert await factory.groups().pis(campaign) == ["pia"]
    await factory.groups().set_pi(admin, campaign, "max")
    await factory.groups().remove_member(admin, campaign, "pia")
    assert await factory.groups().pis(campaign) == ["max"]


async def test_memberships_of_the_provider_end_at_the_provider(
    factory: Factory, sign_in: SignIn, admin: Principal
) -> None:
    await sign_in("ada", memberships=[ClaimedMembership(provider_name="LSST")])
    with pytest.raises(ProviderMembership, match="there"):
        await factory.groups().remove_member(admin, "lsst", "ada")
    await factory.groups().put_member(admin, "lsst", "ada", Role.MANAGER)
    await factory.groups().remove_member(admin, "lsst", "ada")
    assert [m.role for m in await factory.groups().memberships_of("ada")] == [Role.MEMBER]


async def test_history_is_kept_and_a_clock_set_back_makes_no_negative_stretch(
    factory: Factory, campaign: str, admin: Principal, clock: HeldClock
) -> None:
    began = clock.now()
    clock.advance(timedelta(days=3))
    await factory.groups().put_member(admin, campaign, "mia", Role.MANAGER)
    clock.advance(timedelta(days=-2))
    await factory.groups().remove_member(admin, campaign, "mia")
    stretches = [
        (r.role, r.valid_from, r.valid_to)
        for r in await factory.groups().history(admin, campaign)
        if r.username == "mia"
    ]
    later = began + timedelta(days=3)
    assert stretches == [(Role.MANAGER, later, later), (Role.MEMBER, began, later)]


async def test_changes_are_in_the_audit_log_of_the_group(
    factory: Factory, campaign: str, admin: Principal
) -> None:
    max_ = await who(factory, "max")
    await factory.groups().put_member(max_, campaign, "eve", Role.MEMBER)
    await factory.groups().put_member(max_, campaign, "eve", Role.MEMBER)
    await factory.groups().remove_member(max_, campaign, "eve")
    entries = await factory.audit().list(max_, group=campaign, username="eve")
    assert [(e.actor, e.action) for e in entries] == [
        ("max", "member-removed"),
        ("max", "member-added"),
    ]
    with pytest.raises(PermissionDenied):
        await factory.audit().list(await who(factory, "mia"), group=campaign)
    with pytest.raises(PermissionDenied):
        await factory.audit().list(max_)
    newest = await factory.audit().list(admin, limit=1)
    older = await factory.audit().list(admin, limit=1, before=newest[0].audit_id)
    assert older[0].audit_id < newest[0].audit_id


async def test_what_cannot_be_is_refused(factory: Factory, campaign: str, admin: Principal) -> None:
    with pytest.raises(Conflict, match="already"):
        await factory.groups().create(admin, campaign, "Again")
    with pytest.raises(NotFound, match="first sign-in"):
        await factory.groups().put_member(admin, campaign, "nobody-yet", Role.MEMBER)
    with pytest.raises(NotFound):
        await factory.groups().put_member(admin, "none", "eve", Role.MEMBER)
    with pytest.raises(NotFound, match="not a member"):
        await factory.groups().remove_member(admin, campaign, "eve")
    with pytest.raises(PermissionDenied):
        await factory.groups().create(await who(factory, "pia"), "own", "Own")
    await factory.people().disable(admin, "eve", "gone")
    with pytest.raises(Conflict, match="disabled"):
        await factory.groups().put_member(await who(factory, "pia"), campaign, "eve", Role.MEMBER)
