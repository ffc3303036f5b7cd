"""The page of a rescue session: what fills the home, and ways to make room.

A Jupyter Server extension. It is there in every server and does nothing but in rescue sessions,
which the hub marks by ``DACHUB_RESCUE``.
"""

from __future__ import annotations

import os
from typing import Any

MARK = "DACHUB_RESCUE"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    if os.environ.get(MARK):
        from dachub.client.rescue.handlers import add_handlers

        add_handlers(serverapp)
