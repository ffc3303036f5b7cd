"""Client of the dachub service for the hub: short time limits, plain outcomes.

By aiohttp, the hub's own HTTP client: httpx would keep the hub's loop busy several times as long.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, TypeAdapter, ValidationError

from dachub.hub.logs import begin_request
from dachub.model.people import HubPerson, LocalAccount, LoginRecord, RefusalRecord
from dachub.model.problems import DachubError, Problem, Unavailable
from dachub.model.queue import QueueAnswer, QueueRequest
from dachub.model.sessions import EventBatch, EventReceipt, SessionEvent
from dachub.model.usage import AuthorizeRequest, Decision, StartOptions

Model = TypeVar("Model", bound=BaseModel)

SERVICE = "dac"
PORTAL_PATH = f"/services/{SERVICE}/"
API_PATH = f"{PORTAL_PATH}api/v1"
LOCAL_ACCOUNTS = TypeAdapter(list[LocalAccount])
CONNECTIONS_MAX = 50
DECISION_SECONDS = 10.0
"""In a storm decisions wait for each other; given up too soon, starts would pass the queue by."""
# Shorter than the service keeps them, so that no request meets a connection that is being closed.
CONNECTION_KEPT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class ServiceDown(Unavailable):
    """The service does not answer, or answers nonsense: try again later.

    Attributes
    ----------
    connected
        Whether it took the request, so that another request may fare better.
    answered_status
        Status of its answer, if there was one.
    """

    code = "service-down"

    def __init__(
        self, message: str, *, connected: bool = True, answered_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.connected = connected
        self.answered_status = answered_status


class ServiceRefused(DachubError):
    """The service answered and said no.

    Attributes
    ----------
    problem_status, problem_code
        Status and code of its answer.
    """

    code = "service-refused"

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.problem_status = status
        self.problem_code = code


class Service:
    """Asks and tells the dachub service.

    Every method raises :class:`ServiceDown` or :class:`ServiceRefused`.

    Parameters
    ----------
    url
        Where it listens, without a path.
    token
        The hub's own; ``DACHUB_HUB_TOKEN`` by default.
    timeout_seconds
        Limit of a whole exchange, for what a person waits for.
    """

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = 2.5) -> None:
        self._timeout_seconds = timeout_seconds
        token = os.environ.get("DACHUB_HUB_TOKEN", "") if token is None else token
        self._url = url.rstrip("/") + API_PATH
        self._headers = {"Authorization": f"Bearer {token}"}
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def authorize(self, request: AuthorizeRequest) -> Decision:
        """May this person start this server?"""
        answer = await self._send(
            "POST", "/sessions/authorize", body=request, timeout_seconds=DECISION_SECONDS
        )
        return _parsed(Decision, answer)

    async def queue(self, request: QueueRequest, timeout_seconds: float) -> QueueAnswer:
        """Where those are who wait for cores."""
        answer = await self._send(
            "POST", "/hub/queue", body=request, timeout_seconds=timeout_seconds
        )
        return _parsed(QueueAnswer, answer)

    async def start_options(
        self, username: str, timeout_seconds: float | None = None
    ) -> StartOptions:
        """What the start page offers a person."""
        answer = await self._send(
            "GET", f"/hub/people/{username}/start-options", timeout_seconds=timeout_seconds
        )
        return _parsed(StartOptions, answer)

    async def record_login(self, record: LoginRecord) -> HubPerson:
        """Tell of a login or refresh; the answer says who this is here."""
        return _parsed(HubPerson, await self._send("POST", "/hub/logins", body=record))

    async def record_refusal(self, record: RefusalRecord) -> None:
        """Tell of a login that was refused."""
        await self._send("POST", "/hub/refusals", body=record)

    async def local_accounts(self, etag: str | None) -> tuple[str, str] | None:
        """Local accounts as (ETag, JSON), or ``None`` where ``etag`` is still current."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = await self._send("GET", "/hub/local-accounts", headers=headers)
        if answer.status_code == 304:
            return None
        try:
            LOCAL_ACCOUNTS.validate_json(answer.content)
        except ValidationError as error:
            raise ServiceDown("The service sent a list of accounts that cannot be read.") from error
        return answer.headers.get("ETag", ""), answer.content.decode()

    async def send_events(self, events: list[SessionEvent]) -> EventReceipt:
        """Deliver events; takes its time, nobody waits for it."""
        answer = await self._send(
            "POST", "/events", body=EventBatch(events=events), timeout_seconds=30
        )
        return _parsed(EventReceipt, answer)

    @property
    def _http(self) -> aiohttp.ClientSession:
        """Made when first used, because it belongs to the loop that runs then."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, keepalive_timeout=CONNECTION_KEPT_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # each request has its own
            )
        return self._opened

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        limit_seconds = timeout_seconds or self._timeout_seconds
        sent = {"X-Request-ID": begin_request(), **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with (
                asyncio.timeout(limit_seconds),
                self._http.request(
                    method,
                    self._url + path,
                    data=body.model_dump_json().encode() if body is not None else None,
                    headers=sent,
                    allow_redirects=False,
                ) as response,
            ):
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServiceDown(
                f"The dachub service does not answer ({type(error).__name__}).",
                connected=not isinstance(error, aiohttp.ClientConnectorError),
            ) from error
        if answer.status_code >= 500:
            raise ServiceDown(
                f"The dachub service answered {answer.status_code}.",
                answered_status=answer.status_code,
            )
        if answer.status_code >= 400:
            raise _refusal(answer)
        return answer


def _parsed(model: type[Model], answer: Answer) -> Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServiceDown("The dachub service sent an answer that cannot be read.") from error


def _refusal(answer: Answer) -> ServiceRefused:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        return ServiceRefused(answer.status_code, "unknown", f"status {answer.status_code}")
    return ServiceRefused(answer.status_code, problem.code, problem.detail)
