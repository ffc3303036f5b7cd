"""What handlers ask for: the process, the services of one transaction, the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from dachub.directory.models import Principal
from dachub.server.auth import authenticate
from dachub.server.factory import Factory, Process


# All of them asynchronous, also where nothing is awaited: others run in a thread of their own.
async def _process(request: Request) -> Process:
    process: Process = request.app.state.process
    return process


CurrentProcess = Annotated[Process, Depends(_process)]
"""Settings, clock, secrets, the way to the hub."""


async def _services(process: CurrentProcess) -> AsyncIterator[Factory]:
    process.require_database()
    async with process.factory() as factory:
        yield factory


# Scope "function": the transaction is committed before the answer is sent, so what a client was
# told has happened.
Services = Annotated[Factory, Depends(_services, scope="function")]
"""Services of one transaction, which is committed when the handler returns."""


async def _caller(request: Request, process: CurrentProcess) -> Principal:
    process.require_database()
    caller = await authenticate(request, process)
    request.state.caller = caller.name
    return caller


Caller = Annotated[Principal, Depends(_caller)]
"""Whoever calls, checked in the directory; anonymous callers get 401, or the login in a browser."""


async def _hub(caller: Caller) -> Principal:
    caller.require_hub()
    return caller


async def _administrator(caller: Caller) -> Principal:
    caller.require_administrator()
    return caller


HubOnly = Depends(_hub)
"""For routes that only the hub may call."""

AdministratorOnly = Depends(_administrator)
"""For routes that only administrators may call."""


AnyModel = TypeVar("AnyModel", bound=BaseModel)
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Any text of your own: what is sent again with it is not done again, and "
        "answered as it was",
    ),
]


@dataclass(frozen=True, slots=True)
class _Once:
    caller: Principal
    services: Factory
    key: str | None
    contents: str

    async def __call__(
        self, model: type[AnyModel], act: Callable[[], Awaitable[AnyModel]]
    ) -> AnyModel:
        """What ``act`` makes; where the caller's key came before, what it made then."""
        if self.key is None:
            return await act()

        async def answer() -> str:
            return (await act()).model_dump_json()

        told = await self.services.once().answer(self.caller, self.key, self.contents, answer)
        return model.model_validate_json(told.text)


async def _once(request: Request, caller: Caller, services: Services, key: Key = None) -> _Once:
    body = (await request.body()).decode("utf-8", "surrogateescape")
    return _Once(caller, services, key, f"{request.method} {request.url.path} {body}")


Once = Annotated[_Once, Depends(_once)]
"""Does what a request asks for, once for an ``Idempotency-Key``."""
