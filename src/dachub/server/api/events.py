"""Events of sessions, from the hub's outbox."""

from __future__ import annotations

from fastapi import APIRouter

from dachub.model.sessions import EventBatch, EventReceipt
from dachub.server.api.parameters import errors
from dachub.server.dependencies import HubOnly, Services

router = APIRouter(prefix="/events", tags=["hub"])


@router.post("", responses=errors(), dependencies=[HubOnly])
async def events(batch: EventBatch, services: Services) -> EventReceipt:
    """Enter events into the ledger; repeating a batch changes nothing."""
    return await services.ledger().apply(batch.events)
