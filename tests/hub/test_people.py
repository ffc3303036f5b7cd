"""Who somebody is while the service is down: no more than was said of them last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.hub.running import free_port

from dachub.hub.clock import now
from dachub.hub.outbox import Outbox
from dachub.hub.people import People
from dachub.hub.service import Service
from dachub.model.people import (
    ClaimedMembership,
    GroupMembership,
    HubPerson,
    LoginRecord,
    Role,
    Source,
)

ISSUER = "https://idp.example"


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def people(outbox: Outbox) -> AsyncIterator[People]:
    """With a service where nobody listens."""
    service = Service(f"http://127.0.0.1:{free_port()}", token="of-no-use")
    yield People(outbox, service, "help@example.org")
    await service.close()


async def remember_grace(outbox: Outbox) -> None:
    member = {"role": Role.MEMBER, "source": Source.PROVIDER}
    groups = [
        GroupMembership.model_validate({"group": "deep-sky-1a2b3c", "title": "Deep Sky", **member}),
        GroupMembership(group="trial", role=Role.PI, source=Source.LOCAL),
    ]
    await outbox.bind(ISSUER, "1", "grace")
    await outbox.save_person(HubPerson(username="grace", administrator=True, groups=groups))


async def test_who_administers_no_more_at_the_provider_does_not_while_the_service_is_down(
    outbox: Outbox, people: People
) -> None:
    await remember_grace(outbox)
    record = LoginRecord(issuer=ISSUER, subject="1", administrator=False, refresh=True, at=now())
    assert not (await people.register(record)).administrator
    assert not (await people.last_known("grace")).administrator
    again = await people.register(record.model_copy(update={"administrator": True}))
    assert again.administrator


async def test_a_group_keeps_the_slug_it_has_while_the_service_is_down(
    outbox: Outbox, people: People
) -> None:
    await remember_grace(outbox)
    claimed = [ClaimedMembership(provider_name=name) for name in ("Deep Sky", "Coma")]
    record = LoginRecord(issuer=ISSUER, subject="1", memberships=claimed, at=now())
    person = await people.register(record)
    # Not "deep-sky", which is another group's: it would be charged.
    assert {one.group for one in person.groups} == {"deep-sky-1a2b3c", "coma", "trial"}
    assert {one.group for one in (await people.register(record)).groups} == {
        "deep-sky-1a2b3c",
        "coma",
        "trial",
    }


async def test_a_name_of_somebody_else_is_not_taken_over_while_the_service_is_down(
    outbox: Outbox, people: People
) -> None:
    await remember_grace(outbox)
    record = LoginRecord(issuer=ISSUER, subject="2", candidate="grace", at=now())
    person = await people.register(record)
    assert person.username.startswith("grace-")
    assert not person.administrator
    assert person.groups == []
