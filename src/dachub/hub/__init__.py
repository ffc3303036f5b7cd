"""The plugin inside the JupyterHub process: login, start page, servers and their events.

``jupyterhub_config.py`` needs no more than ``import dachub.hub; dachub.hub.configure(c)``.
"""

from __future__ import annotations

from typing import Any


def configure(c: Any) -> None:
    """Configure JupyterHub from the file named by ``DACHUB_HUB_SETTINGS``."""
    # Imported late: the settings beside us are read where JupyterHub is not installed.
    from dachub.hub.configuration import configure as configure_hub

    configure_hub(c)
