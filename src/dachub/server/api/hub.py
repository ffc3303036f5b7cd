"""What the hub tells and asks of people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from dachub.model.people import HubPerson, LocalAccount, LoginRecord, RefusalRecord
from dachub.model.queue import QueueAnswer, QueueRequest
from dachub.model.usage import StartOptions
from dachub.server.api.parameters import UsernamePath, errors
from dachub.server.dependencies import HubOnly, Services

router = APIRouter(prefix="/hub", tags=["hub"], dependencies=[HubOnly])


@router.post("/logins", responses=errors(409))
async def login(record: LoginRecord, services: Services) -> HubPerson:
    """Register a login or refresh; the answer says who the person is here."""
    return await services.logins().record(record)


@router.post("/refusals", status_code=204, responses=errors())
async def refusal(record: RefusalRecord, services: Services) -> None:
    """Keep a login that the hub refused."""
    await services.logins().refuse(record)


@router.get(
    "/local-accounts",
    response_model=list[LocalAccount],
    responses=errors() | {304: {"description": "Nothing changed"}},
)
async def local_accounts(
    services: Services,
    response: Response,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response | list[LocalAccount]:
    """List local accounts with their password hashes, so that the hub can check by itself."""
    found = await services.accounts().list_for_hub()
    etag = services.accounts().etag(found)
    if if_none_match == etag:
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return found


@router.get("/people/{username}/start-options", responses=errors(404))
async def start_options(username: UsernamePath, services: Services) -> StartOptions:
    """Tell what the start page offers a person."""
    return await services.quota().start_options(username)


@router.post("/queue", responses=errors())
async def queue(request: QueueRequest, services: Services) -> QueueAnswer:
    """Tell where all who wait at the hub are in the queue; of others it asks anew whether to start.

    Those who are not among the answer's places are to be decided on again: mostly it is their turn.
    """
    return await services.queue().ask(request)
