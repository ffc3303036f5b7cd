"""The portal: pages for people, rendered here; every rule lives in the services."""

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from dachub.server.portal import assets, routes
from dachub.server.portal.errors import error_page
from dachub.server.portal.pages import BASE

__all__ = ["error_page", "router"]

router = APIRouter(include_in_schema=False)


@router.get("")
async def without_slash() -> Response:
    """Go to the first page."""
    return RedirectResponse(BASE, status_code=307)


router.include_router(routes.router)
router.include_router(assets.router)
