"""What presses on a person, for the hub's own pages: asked for in haste, or left out."""

from __future__ import annotations

from collections.abc import Sequence

from dachub.hub.service import Service, ServiceDown, ServiceRefused

HASTE_SECONDS = 0.5
"""A page that works without the service waits no longer for it."""


class Pressing:
    """Notices of one person; a template asks for them while it is rendered."""

    def __init__(self, service: Service, username: str) -> None:
        self._service = service
        self._username = username

    async def notices(self) -> Sequence[str]:
        """Those of the start page; none while the service does not answer at once."""
        try:
            offer = await self._service.start_options(self._username, HASTE_SECONDS)
        except (ServiceDown, ServiceRefused):
            return []
        return offer.notices
