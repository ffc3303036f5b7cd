"""The part of the dachub service that the hub speaks with, for tests of the hub alone.

It keeps everything in memory and does what a test tells it: be down, hang, refuse. Run it with
:func:`fake_service`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from dachub.model.names import group_slug
from dachub.model.people import (
    GroupMembership,
    HubPerson,
    LocalAccount,
    LoginRecord,
    RefusalRecord,
    Role,
    Source,
)
from dachub.model.problems import DachubError
from dachub.model.queue import Place, QueueAnswer, QueueRequest
from dachub.model.sessions import EventBatch, EventReceipt, RefusedEvent, SessionEvent
from dachub.model.site import RESCUE_SIZE, Size, resolve_choice
from dachub.model.software import NO_OWN_IMAGES, Environment, OwnImages
from dachub.model.usage import AuthorizeRequest, Decision, GroupBalance, StartOptions

API = "/services/dac/api/v1"


@dataclass
class FakeService:
    """What it knows and how it behaves; tests read and write it directly."""

    token: str
    sizes: tuple[Size, ...] = ()
    environments: tuple[Environment, ...] = ()
    own_images: OwnImages = NO_OWN_IMAGES
    port: int = 0
    events: dict[str, SessionEvent] = field(default_factory=dict)
    deliveries: int = 0
    logins: list[LoginRecord] = field(default_factory=list)
    refusals: list[RefusalRecord] = field(default_factory=list)
    accounts: list[LocalAccount] = field(default_factory=list)
    people: dict[tuple[str, str], HubPerson] = field(default_factory=dict)
    local_groups: dict[str, list[str]] = field(default_factory=dict)
    balances: dict[str, GroupBalance] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    disabled: set[str] = field(default_factory=set)
    rescue: dict[str, str] = field(default_factory=dict)
    """By username: why a person must make room first."""
    waiting: dict[str, Place] = field(default_factory=dict)
    """By username: where a person's server waits for cores."""
    asked: dict[UUID, str] = field(default_factory=dict)
    """By session: who asked for it."""
    left: set[UUID] = field(default_factory=set)
    refuse_events: set[str] = field(default_factory=set)
    fail_on: dict[str, int] = field(default_factory=dict)
    """Texts in a request's address or body that are answered with this status."""
    down: bool = False
    hang: bool = False
    request_ids: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def of_session(self, session_id: str) -> list[SessionEvent]:
        """Events of one session in the order of their arrival."""
        return [
            event for event in self.events.values() if str(event.session.session_id) == session_id
        ]

    def person(self, username: str) -> HubPerson | None:
        """Somebody by name, with the groups they are in now."""
        found = next((one for one in self.people.values() if one.username == username), None)
        if found is None:
            return None
        local = [
            GroupMembership(group=group, title=group.title(), role=Role.MEMBER, source=Source.LOCAL)
            for group in self.local_groups.get(username, [])
        ]
        return found.model_copy(
            update={"groups": found.groups + local, "disabled": username in self.disabled}
        )

    def login(self, record: LoginRecord) -> HubPerson | None:
        """Bind a name; ``None`` where it is somebody else's."""
        key = (record.issuer, record.subject)
        taken = {one.username: identity for identity, one in self.people.items()}
        known = self.people.get(key)
        username = (known.username if known else None) or record.username or record.candidate
        if not username or taken.get(username, key) != key:
            if record.username or not username:
                return None
            username = f"{username[:28]}-{len(self.people)}"
        self.people[key] = HubPerson(
            username=username,
            full_name=record.full_name,
            email=record.email,
            affiliations=record.affiliations,
            administrator=record.administrator,
            groups=[
                GroupMembership(
                    group=group_slug(one.provider_name),
                    title=one.provider_name,
                    role=one.role,
                    source=Source.PROVIDER,
                )
                for one in record.memberships
            ],
        )
        self.logins.append(record)
        return self.person(username)


def application(fake: FakeService) -> FastAPI:
    """The endpoints."""
    app = FastAPI()

    @app.middleware("http")
    async def behave(request: Request, call_next: Any) -> Response:
        if fake.hang:
            await asyncio.sleep(60)
        if fake.down:
            return Response(status_code=503)
        if request.headers.get("Authorization") != f"Bearer {fake.token}":
            return _problem(401, "unauthenticated", "wrong token")
        fake.request_ids.append(request.headers.get("X-Request-ID", ""))
        sent = request.url.path + (await request.body()).decode()
        for text, status in fake.fail_on.items():
            if text in sent:
                return Response(status_code=status)
        return await call_next(request)

    @app.post(f"{API}/events")
    async def events(batch: EventBatch) -> EventReceipt:
        fake.deliveries += 1
        refused = []
        for event in batch.events:
            if str(event.session.session_id) in fake.refuse_events:
                refused.append(RefusedEvent(event_id=event.event_id, code="no", detail="never"))
            else:
                fake.events.setdefault(str(event.event_id), event)
        return EventReceipt(accepted=len(batch.events) - len(refused), refused=refused)

    @app.post(f"{API}/hub/logins")
    async def logins(record: LoginRecord) -> Response:
        person = fake.login(record)
        if person is None:
            return _problem(409, "identity-conflict", "The name belongs to somebody else.")
        if person.disabled:
            return _problem(403, "account-disabled", "The account is disabled.")
        return JSONResponse(json.loads(person.model_dump_json()))

    @app.post(f"{API}/hub/refusals", status_code=204)
    async def refusals(record: RefusalRecord) -> None:
        fake.refusals.append(record)

    @app.get(f"{API}/hub/local-accounts")
    async def local_accounts(request: Request) -> Response:
        body = json.dumps([json.loads(one.model_dump_json()) for one in fake.accounts])
        etag = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status_code=304)
        return Response(body, media_type="application/json", headers={"ETag": etag})

    @app.get(f"{API}/hub/people/{{username}}/start-options")
    async def start_options(username: str) -> StartOptions:
        person = fake.person(username)
        groups = [one.group for one in person.groups] if person else []
        return StartOptions(
            groups=[fake.balances.get(one, GroupBalance(group=one, used=0)) for one in groups],
            notices=fake.notices,
        )

    @app.post(f"{API}/sessions/authorize")
    async def authorize(request: AuthorizeRequest) -> Decision:
        person = fake.person(request.username)
        if request.username in fake.disabled:
            return Decision(allowed=False, code="account-disabled", message="You are disabled.")
        groups = [one.group for one in person.groups] if person else []
        try:
            found = resolve_choice(
                request.choice,
                groups,
                fake.sizes,
                fake.environments,
                fake.own_images,
                datetime.now(UTC).date(),
            )
        except DachubError as error:
            return Decision(allowed=False, code=error.code, message=error.message)
        balance = fake.balances.get(found.group)
        rescue = request.trouble or fake.rescue.get(request.username)
        if balance is not None and balance.left == 0 and rescue is None:
            return Decision(allowed=False, code="quota-spent", message=balance.message)
        if request.session_id is not None:
            fake.asked[request.session_id] = request.username
        return Decision(
            allowed=True,
            place=fake.waiting.get(request.username),
            group=found.group,
            size=found.size.name if rescue is None else RESCUE_SIZE,
            environment=found.environment.name,
            image=found.environment.image if found.environment.is_own else None,
            rescue=rescue,
            message=balance.message if balance else "",
        )

    @app.post(f"{API}/hub/queue")
    async def queue(request: QueueRequest) -> QueueAnswer:
        fake.left.update(request.left)
        places = {one: fake.waiting.get(fake.asked[one]) for one in request.waiting}
        return QueueAnswer(places={one: place for one, place in places.items() if place})

    return app


@contextmanager
def fake_service(fake: FakeService) -> Iterator[FakeService]:
    """Serve ``fake`` on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", fake.port))
    listener.listen(128)  # whoever comes early waits
    fake.port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application(fake), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def _problem(status: int, code: str, detail: str) -> Response:
    body = {"title": code, "status": status, "code": code, "detail": detail}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")
