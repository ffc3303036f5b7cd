"""``python -m dachub.hub.proxy``: the pure-Python proxy, which has no such entry itself."""

from __future__ import annotations

from configurable_http_proxy.cli import main  # type: ignore[import-untyped]
from configurable_http_proxy.handlers import ProxyHandler  # type: ignore[import-untyped]


def _chosen_by_server(handler: ProxyHandler, _offered: list[str]) -> str | None:
    """Hand the server's choice of a WebSocket subprotocol on to the browser.

    The proxy asks the server for it but keeps the answer to itself, so that browsers refuse
    JupyterLab's first connection to every kernel.
    """
    return handler.ws_client.selected_subprotocol if handler.ws_client else None


if __name__ == "__main__":
    ProxyHandler.select_subprotocol = _chosen_by_server
    main()
