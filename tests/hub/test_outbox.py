"""Nothing of what happened is lost, doubled or blocked."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.fake_service import FakeService
from tests.hub.running import PYTHONPATH, TOKEN

from dachub.hub.clock import now
from dachub.hub.delivery import Delivery
from dachub.hub.outbox import Letter, Outbox
from dachub.hub.service import Service, ServiceDown
from dachub.model.people import HubPerson, LoginRecord, RefusalRecord
from dachub.model.sessions import EndReason, SessionDescription, SessionEvent


def describe(username: str = "ada") -> SessionDescription:
    return SessionDescription(
        session_id=uuid4(),
        username=username,
        group="virgo",
        size="tiny",
        environment="astronomy",
        milli_cores=250,
        memory_bytes=1,
        requested_at=now(),
    )


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    await box.close()


@pytest.fixture
async def delivery(outbox: Outbox, service: FakeService) -> AsyncIterator[Delivery]:
    client = Service(service.url, TOKEN)
    yield Delivery(outbox, client)
    await client.close()


async def deliver_all(delivery: Delivery) -> None:
    """All that is not resting after a failure."""
    for route in delivery.routes:
        while await route.deliver():
            pass


async def depth(outbox: Outbox, wanted: int) -> None:
    """Wait until so many letters are left."""
    async with asyncio.timeout(20):
        while (await outbox.status()).depth != wanted:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


async def told(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until the log says something."""
    async with asyncio.timeout(20):
        while text not in caplog.text:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


async def events_in(outbox: Outbox) -> list[SessionEvent]:
    letters = await outbox.next_letters("event", 1000)
    return [SessionEvent.model_validate_json(letter.body) for letter in letters]


async def test_events_tell_all_there_is_in_order(outbox: Outbox) -> None:
    session = describe()
    await outbox.requested(session)
    start = await outbox.started(session, now() + timedelta(seconds=3))
    await outbox.ended(
        session, started_at=None, at=start + timedelta(seconds=5), reason=EndReason.STOPPED
    )
    told = await events_in(outbox)
    assert [event.kind for event in told] == ["requested", "started", "stopped"]
    assert [event.started_at for event in told] == [None, start, start]
    assert {event.session for event in told} == {session}
    assert len({event.event_id for event in told}) == 3


async def test_whoever_notices_the_end_it_is_told_once(outbox: Outbox) -> None:
    session = describe()
    await outbox.requested(session)
    await outbox.started(session, now())
    await asyncio.gather(
        *(
            outbox.ended(session, started_at=now(), at=at, reason=EndReason.LOST)
            for at in [None, now(), None]
        )
    )
    assert [event.kind for event in await events_in(outbox)] == ["requested", "started", "stopped"]
    assert await outbox.open_sessions() == []


async def test_an_end_nobody_saw_is_an_estimate_at_the_last_sign_of_life(outbox: Outbox) -> None:
    session = describe()
    await outbox.requested(session)
    start = await outbox.started(session, now())
    seen = start + timedelta(seconds=40)
    await outbox.seen_alive({session.session_id: seen})
    await outbox.ended(session, started_at=start, at=None, reason=EndReason.LOST)
    end = (await events_in(outbox))[-1]
    assert (end.at, end.end_is_estimate, end.end_reason) == (seen, True, EndReason.LOST)


@pytest.mark.parametrize("step_seconds", [-3600, -1, 0, 86400])
async def test_a_clock_set_back_makes_no_negative_session(
    outbox: Outbox, step_seconds: int
) -> None:
    session = describe()
    await outbox.requested(session)
    start = await outbox.started(session, now() + timedelta(seconds=step_seconds))
    await outbox.ended(
        session,
        started_at=start,
        at=now() - timedelta(days=1),
        reason=EndReason.STOPPED,
    )
    end = (await events_in(outbox))[-1]
    assert end.started_at is not None
    assert end.session.requested_at <= end.started_at <= end.at


async def test_a_session_that_never_became_ready_consumed_nothing(outbox: Outbox) -> None:
    session = describe()
    await outbox.requested(session)
    await outbox.ended(session, started_at=None, at=None, reason=EndReason.LOST)
    end = (await events_in(outbox))[-1]
    assert (end.kind, end.end_reason, end.started_at) == ("failed", EndReason.FAILED, None)


async def test_delivery_waits_for_the_service_and_keeps_the_order(
    outbox: Outbox, delivery: Delivery, service: FakeService
) -> None:
    service.down = True
    sessions = [describe() for _ in range(5)]
    for session in sessions:
        await outbox.requested(session)
    await outbox.post_login(LoginRecord(issuer="local", subject="ada", username="ada", at=now()))
    await outbox.requested(describe("bob"))
    for route in delivery.routes[:2]:
        with pytest.raises(ServiceDown):
            await route.deliver()
    assert (await outbox.status()).depth == 7
    service.down = False
    await deliver_all(delivery)
    told = [event.session.session_id for event in service.events.values()]
    assert told[:5] == [session.session_id for session in sessions]
    assert [record.subject for record in service.logins] == ["ada"]
    assert (await outbox.status()).depth == 0
    assert (await outbox.person("ada")).username == "ada"  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [500, 503])
async def test_an_event_the_service_fails_on_holds_up_nobody_and_is_not_lost(
    outbox: Outbox,
    delivery: Delivery,
    service: FakeService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    monkeypatch.setattr("dachub.hub.delivery.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("dachub.hub.delivery.LONGEST_PAUSE_SECONDS", 0.05)
    sessions = [describe() for _ in range(300)]
    bad = sessions[77]
    service.fail_on[str(bad.session_id)] = status
    for session in sessions:
        await outbox.requested(session)
    task = asyncio.create_task(delivery.run())
    await depth(outbox, 1)
    (left,) = await outbox.next_letters("event")
    assert str(bad.session_id) in left.body
    # Those that come later pass it too, also in company.
    for _ in range(20):
        await outbox.requested(describe())
    await depth(outbox, 1)
    await told(caplog, "has failed 4 times on one entry")
    service.fail_on.clear()
    await depth(outbox, 0)
    assert len(service.events) == 320
    assert (await outbox.status()).refused == 0
    task.cancel()


async def test_an_endpoint_that_fails_holds_up_no_other(
    outbox: Outbox, delivery: Delivery, service: FakeService
) -> None:
    service.fail_on["/hub/logins"] = 500
    await outbox.post_login(LoginRecord(issuer="local", subject="ada", username="ada", at=now()))
    await outbox.post_refusal(RefusalRecord(code="x", at=now()))
    await outbox.requested(describe())
    task = asyncio.create_task(delivery.run())
    await depth(outbox, 1)
    assert (len(service.events), len(service.refusals), len(service.logins)) == (1, 1, 0)
    service.fail_on.clear()
    await depth(outbox, 0)
    assert len(service.logins) == 1
    task.cancel()


async def test_what_comes_between_two_looks_waits_for_no_timeout(
    outbox: Outbox, delivery: Delivery, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dachub.hub.delivery.IDLE_SECONDS", 1000)
    looks = outbox.next_letters
    late = [describe()]

    async def look(*arguments: object) -> list[Letter]:
        found = await looks(*arguments)  # type: ignore[arg-type]
        if not found and late:
            await outbox.requested(late.pop())
        return found

    monkeypatch.setattr(outbox, "next_letters", look)
    task = asyncio.create_task(delivery.run())
    async with asyncio.timeout(10):
        while not service.events:  # noqa: ASYNC110 - what is tested has no event
            await asyncio.sleep(0.02)
    task.cancel()


async def test_a_refused_event_steps_aside(
    outbox: Outbox, delivery: Delivery, service: FakeService
) -> None:
    bad, good = describe(), describe()
    service.refuse_events.add(str(bad.session_id))
    await outbox.requested(bad)
    await outbox.requested(good)
    await deliver_all(delivery)
    assert [event.session for event in service.events.values()] == [good]
    status = await outbox.status()
    assert (status.depth, status.refused) == (0, 1)


async def test_rubbish_in_the_outbox_blocks_nobody(
    outbox: Outbox, delivery: Delivery, service: FakeService
) -> None:
    await outbox.requested(describe())
    connection = sqlite3.connect(outbox.path)
    connection.execute('UPDATE outbox SET body = \'{"from": "the future"}\'')
    connection.commit()
    connection.close()
    await outbox.post_refusal(RefusalRecord(code="x", at=now()))
    await outbox.requested(describe())
    await deliver_all(delivery)
    assert len(service.events) == len(service.refusals) == 1
    assert (await outbox.status()).refused == 1


async def test_the_task_survives_an_outage_and_a_wrong_token(
    outbox: Outbox, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dachub.hub.delivery.FIRST_PAUSE_SECONDS", 0.02)
    service.token = "another"
    client = Service(service.url, TOKEN)
    task = asyncio.create_task(Delivery(outbox, client).run())
    await outbox.requested(describe())
    await asyncio.sleep(0.2)
    assert not service.events
    service.token, service.down = TOKEN, True
    await asyncio.sleep(0.1)
    service.down = False
    async with asyncio.timeout(10):
        while (await outbox.status()).depth:  # noqa: ASYNC110 - what is tested has no event
            await asyncio.sleep(0.02)
    assert len(service.events) == 1
    task.cancel()
    await client.close()


async def test_a_refresh_supersedes_older_ones_but_no_login(outbox: Outbox) -> None:
    record = LoginRecord(issuer="local", subject="ada", username="ada", at=now())
    await outbox.post_login(record)
    for _ in range(10):
        await outbox.post_login(record.model_copy(update={"refresh": True}))
    letters = await outbox.next_letters("login")
    assert [json.loads(letter.body)["refresh"] for letter in letters] == [False, True]


async def test_a_name_belongs_to_one_identity(outbox: Outbox) -> None:
    assert await outbox.bind("https://idp", "1", "ada")
    assert not await outbox.bind("https://idp", "2", "ada")
    assert not await outbox.bind("local", "ada", "ada")
    assert await outbox.username_of("https://idp", "1") == "ada"
    assert await outbox.username_of("https://idp", "2") is None


async def test_a_disk_that_refuses_writes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    await box.save_person(HubPerson(username="ada"))
    # SQLite's own "database or disk is full".
    await box.storage._call(lambda: box.storage._connection().execute("PRAGMA max_page_count = 1"))
    pages = (await box.storage.query("PRAGMA page_count"))[0][0]
    await box.storage._call(
        lambda: box.storage._connection().execute(f"PRAGMA max_page_count = {pages}")
    )
    sessions = [describe() for _ in range(60)]
    for session in sessions:
        await box.requested(session)
    held = (await box.status()).held_in_memory
    assert held > 0
    assert "Free some disk space" in caplog.text
    await box.storage._call(
        lambda: box.storage._connection().execute("PRAGMA max_page_count = 100000")
    )
    assert await box.flush()
    told = await events_in(box)
    assert [event.session for event in told] == sessions
    await box.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.hub.test_outbox import describe
from dachub.hub.outbox import Outbox

async def main():
    box = Outbox(Path(sys.argv[1]))
    while True:
        session = describe()
        await box.requested(session)
        print(session.session_id, flush=True)

asyncio.run(main())
"""


@pytest.mark.kill
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    acknowledged: list[str] = []
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{PYTHONPATH}:{Path(PYTHONPATH).parent}"},
            text=True,
        )
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(random.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout.readlines() if len(line) == 37]
        writer.wait()
    rows = sqlite3.connect(path).execute(
        "SELECT json_extract(body, '$.session.session_id') FROM outbox"
    )
    written = [row[0] for row in rows]
    assert len(written) == len(set(written))
    assert set(acknowledged) <= set(written)
    assert len(written) - len(acknowledged) <= 3


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["requested", "started", "ended", "seen"])),
        max_size=20,
    )
)
@settings(max_examples=30, deadline=None)
def test_at_most_one_final_event_whatever_the_order(steps: list[tuple[int, str]]) -> None:
    async def run() -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as directory:
            box = Outbox(Path(directory) / "outbox.sqlite")
            sessions = [describe() for _ in range(3)]
            for index, step in steps:
                session = sessions[index]
                if step == "requested":
                    await box.requested(session)
                elif step == "started":
                    await box.started(session, now())
                elif step == "seen":
                    await box.seen_alive({session.session_id: now()})
                else:
                    await box.ended(session, started_at=None, at=None, reason=EndReason.LOST)
            told = await events_in(box)
            await box.close()
        for index, session in enumerate(sessions):
            finals = [
                event
                for event in told
                if event.session == session and event.kind in {"stopped", "failed"}
            ]
            assert len(finals) == ((index, "ended") in steps)

    asyncio.run(run())


async def test_an_append_does_not_hold_up_the_loop(outbox: Outbox) -> None:
    await outbox.requested(describe())
    longest = 0.0
    stop = False

    async def watch() -> None:
        nonlocal longest
        while not stop:
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)

    watcher = asyncio.create_task(watch())
    began = time.perf_counter()
    for _ in range(100):
        await outbox.requested(describe())
    each_seconds = (time.perf_counter() - began) / 100
    stop = True
    await watcher
    assert longest < 0.25, f"append takes {each_seconds * 1000:.2f} ms"
