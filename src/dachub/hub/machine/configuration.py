"""JupyterHub's configuration on one machine: where hub and proxy listen, what they leave behind."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from dachub.hub.settings import HubSettings, MachineSettings


def configure(c: Any, settings: HubSettings, machine: MachineSettings) -> None:
    """Say what a hub on one machine needs beside what every hub needs."""
    state = settings.state_directory
    c.JupyterHub.bind_url = machine.bind_url
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{machine.hub_port}"
    c.JupyterHub.public_url = settings.public_url
    c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
    # Only where JPY_COOKIE_SECRET does not give it.
    c.JupyterHub.cookie_secret_file = str(state / "cookie-secret")
    c.JupyterHub.cleanup_servers = not settings.servers.survive_hub_restart
    c.JupyterHub.cleanup_proxy = True
    c.ConfigurableHTTPProxy.command = [
        *ends_with_parent(),
        sys.executable,
        "-m",
        "dachub.hub.proxy",
        *(["--behind-proxy"] if settings.behind_proxy else []),
    ]
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{machine.proxy_api_port}"
    c.ConfigurableHTTPProxy.pid_file = str(state / "jupyterhub-proxy.pid")
    c.ConfigurableHTTPProxy.log_level = "error"
    if machine.tls_certificate and machine.tls_key:
        c.JupyterHub.ssl_cert = str(machine.tls_certificate)
        c.JupyterHub.ssl_key = str(machine.tls_key)
    c.Spawner.env_keep = ["LANG", "LC_ALL", "TZ"]
    c.LocalProcessSpawner.interrupt_timeout = 10
    c.LocalProcessSpawner.term_timeout = 5


def ends_with_parent() -> list[str]:
    """Prefix of a command that must not outlive the hub, however the hub ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
