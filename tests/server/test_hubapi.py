"""What the service makes of the hub's answers."""

from __future__ import annotations

import httpx

from dachub.server.hubapi import PAGE, PAGED, HubAPI

PEOPLE = 2 * PAGE + 1


async def test_all_servers_are_found_page_by_page() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept"] == PAGED
        first = int(request.url.params["offset"])
        numbers = range(first, min(first + int(request.url.params["limit"]), PEOPLE))
        more = {"offset": numbers.stop} if numbers.stop < PEOPLE else None
        return httpx.Response(
            200,
            json={
                "items": [{"name": f"p{at}", "servers": {"": {"name": ""}}} for at in numbers],
                "_pagination": {"next": more},
            },
        )

    hub = HubAPI("http://hub/hub/api", "token", transport=httpx.MockTransport(answer))
    found = await hub.active_servers()
    await hub.close()
    assert [server.username for server in found] == [f"p{at}" for at in range(PEOPLE)]
