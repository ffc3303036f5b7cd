"""What the hub keeps of a person goes with them; what must still be accounted does not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.harness.waiting import until
from tests.hub.running import RunningHub

from dachub.hub.clock import now
from dachub.hub.outbox import Letter, Outbox
from dachub.model.people import HubPerson, LoginRecord, RefusalRecord
from dachub.model.sessions import EndReason, SessionDescription

ISSUER = "https://idp.example"


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    await box.close()


def described(username: str) -> SessionDescription:
    return SessionDescription(
        session_id=uuid4(), username=username, group="virgo", size="tiny",
        environment="astronomy", milli_cores=250, memory_bytes=1, requested_at=now(),
    )  # fmt: skip


async def live(outbox: Outbox, username: str) -> None:
    """Have the outbox keep all that it may keep of somebody."""
    login = LoginRecord(issuer=ISSUER, subject=f"of {username}", username=username, at=now())
    await outbox.bind(ISSUER, f"of {username}", username)
    await outbox.save_person(HubPerson(username=username, full_name=f"Dr {username}"))
    await outbox.post_login(login)
    await outbox.post_login(login.model_copy(update={"username": None, "full_name": username}))
    await outbox.post_refusal(RefusalRecord(claimed_name=username, code="wrong", at=now()))
    session = described(username)
    await outbox.requested(session)
    await outbox.started(session, now())
    await outbox.ended(session, started_at=None, at=now(), reason=EndReason.STOPPED)
    for letter in (await outbox.next_letters("login"))[-1:]:
        await outbox.refused(letter, "account-disabled", "no")


def text_of(outbox: Outbox, tables: str = "identity person session outbox dead_letter") -> str:
    """All that stands in these tables."""
    with sqlite3.connect(outbox.path) as file:
        rows = [file.execute(f"SELECT * FROM {table}").fetchall() for table in tables.split()]
    return json.dumps(rows)


async def test_all_goes_but_events_that_are_not_delivered(outbox: Outbox) -> None:
    await live(outbox, "zora")
    await live(outbox, "grace")
    accounts = [{"username": "zora", "password_hash": "x"}, {"username": "grace"}]
    await outbox.save_document("local-accounts", '"1"', json.dumps(accounts))
    graces = text_of(outbox).count("grace")
    await outbox.forget("zora")
    assert "zora" not in text_of(outbox, "identity person session dead_letter document")
    assert await outbox.document("local-accounts") == ("", '[{"username":"grace"}]')
    letters = [letter for topic in ("login", "refusal") for letter in await _letters(outbox, topic)]
    assert not any("zora" in letter.body for letter in letters)
    events = await outbox.next_letters("event")
    assert len([letter for letter in events if "zora" in letter.body]) == 3
    assert text_of(outbox).count("grace") == graces
    assert await outbox.username_of(ISSUER, "of zora") is None
    await outbox.forget("zora")  # again: as after a kill


async def _letters(outbox: Outbox, topic: str) -> list[Letter]:
    return await outbox.next_letters(topic)  # type: ignore[arg-type]


async def test_a_session_that_runs_stays_known_until_its_end(outbox: Outbox) -> None:
    session = described("zora")
    await outbox.started(session, now())
    await outbox.forget("zora")
    assert [one.session for one in await outbox.open_sessions()] == [session]


async def test_what_cannot_be_read_holds_nothing_up(outbox: Outbox) -> None:
    await live(outbox, "zora")
    with sqlite3.connect(outbox.path) as file:
        file.execute(
            "INSERT INTO dead_letter VALUES (999, 'login', 'k', 'no { json', 'c', 'd', '')"
        )
        file.execute("INSERT INTO document VALUES ('torn', '', 'no { json')")
    await outbox.forget("zora")
    assert await outbox.flush()
    assert await outbox.username_of(ISSUER, "of zora") is None


async def test_logins_refused_for_ever_are_not_kept_for_ever(outbox: Outbox) -> None:
    await live(outbox, "zora")
    long_ago = (now() - timedelta(days=31)).isoformat()
    with sqlite3.connect(outbox.path) as file:
        file.execute("UPDATE dead_letter SET refused_at = ?", (long_ago,))
        file.execute("INSERT INTO dead_letter VALUES (999, 'event', 'k', '{}', 'c', 'd', '')")
    await outbox.prune()
    with sqlite3.connect(outbox.path) as file:
        assert file.execute("SELECT topic FROM dead_letter").fetchall() == [("event",)]


@pytest.mark.hub
def test_a_hub_that_deletes_a_person_forgets_them_and_what_their_server_said(
    start_hub: Callable[..., RunningHub],
) -> None:
    hub = start_hub()
    for username in ("ada", "bob"):
        visitor = hub.browser()
        visitor.sign_in(username)
        visitor.spawn(group="virgo", size="tiny", environment="astronomy")
        until(lambda name=username: hub.log_of(name).exists(), "the server says something")
    api = f"http://127.0.0.1:{hub.settings.machine.hub_port}/hub/api/users/ada"
    service = {"Authorization": "token service-token-of-the-test"}
    until(
        lambda: httpx.delete(api, headers=service, timeout=60).status_code in (204, 404),
        "the hub has stopped ada's server and deleted her",
    )
    assert httpx.get(api, headers=service).status_code == 404
    assert hub.sql("SELECT username FROM person ORDER BY 1") == [("bob",)]
    assert hub.sql("SELECT username FROM identity ORDER BY 1") == [("bob",)]
    assert (hub.log_of("ada").exists(), hub.log_of("bob").exists()) == (False, True)
    assert (hub.directory / "homes" / "ada").is_dir()
    visitor = hub.browser()
    assert visitor.sign_in("ada").status_code == 200  # the service still knows her here
