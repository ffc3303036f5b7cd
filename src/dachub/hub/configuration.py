"""Turns the hub's settings into JupyterHub's configuration."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.services.service import Service

from dachub.hub import form, runtime
from dachub.hub.bar import links
from dachub.hub.claims import reading_of
from dachub.hub.local_spawner import LocalSpawner
from dachub.hub.login import STATIC, LocalAuthenticator, OpenIDAuthenticator
from dachub.hub.logs import EcsFile, EcsFormatter
from dachub.hub.machine import configuration as machine
from dachub.hub.notices import Pressing
from dachub.hub.service import PORTAL_PATH, SERVICE
from dachub.hub.sessions import GATE_SECONDS
from dachub.hub.settings import HubSettings
from dachub.model.names import USERNAME_PATTERN

SETTINGS_VARIABLE = "DACHUB_HUB_SETTINGS"
METRICS_TOKEN = "DACHUB_METRICS_TOKEN"  # noqa: S105  the variable's name
WATCHER = "prometheus"
USE_PORTAL = f"access:services!service={SERVICE}"
NO_LIMIT = 0
# Far more than a cluster is ever asked for at once.
PODS_AT_ONCE = 10_000
STARTS_AT_ONCE_PER_CORE = 4
ECS_FORMATTER = f"{EcsFormatter.__module__}.{EcsFormatter.__qualname__}"


def configure(c: Any) -> None:
    """Configure JupyterHub (``c`` of a ``jupyterhub_config.py``) from ``DACHUB_HUB_SETTINGS``.

    Raises
    ------
    KeyError
        If the environment names no settings or lacks a secret.
    pydantic.ValidationError
        If the settings are not valid.
    """
    path = Path(os.environ[SETTINGS_VARIABLE])
    settings = HubSettings.model_validate_json(path.read_text())
    # A cluster starts what it has room for; one machine would only get slower.
    starts_at_once = (
        PODS_AT_ONCE if settings.pods else STARTS_AT_ONCE_PER_CORE * (os.cpu_count() or 1)
    )
    runtime.set_current(runtime.Runtime.build(settings, starts_at_once))
    _hub(c, settings)
    _place(c, settings)
    _logs(c, settings)
    _login(c, settings)
    _servers(c, settings)
    _services(c, settings)
    _watched(c)
    _pages(c, settings)


def _hub(c: Any, settings: HubSettings) -> None:
    # People who start together wait for their turn in our own queues; nobody is answered 429.
    c.JupyterHub.concurrent_spawn_limit = NO_LIMIT
    c.JupyterHub.active_server_limit = NO_LIMIT
    c.JupyterHub.last_activity_interval = settings.servers.activity_seconds
    c.JupyterHub.activity_resolution = 60
    c.JupyterHub.init_spawners_timeout = 10


def _place(c: Any, settings: HubSettings) -> None:
    """Where servers run. On a cluster Zero to JupyterHub has configured hub, proxy and pods."""
    if settings.machine is not None:
        machine.configure(c, settings, settings.machine)
        c.JupyterHub.spawner_class = LocalSpawner
        if settings.servers.idle_stop_seconds is not None:
            _culler(c, settings.servers.idle_stop_seconds)
        return
    # Here, because a machine has no KubeSpawner.
    from dachub.hub.pod_spawner import PodSpawner

    c.JupyterHub.spawner_class = PodSpawner
    c.PodSpawner.delete_stopped_pods = False  # when and why it ended is read first


def _logs(c: Any, settings: HubSettings) -> None:
    # Our own modules log beside the hub: to its file and to the terminal.
    ours = logging.getLogger("dachub")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    terminal = logging.StreamHandler()
    ours.addHandler(terminal)
    if settings.pods is not None:  # read by a shipper, not by people
        terminal.setFormatter(EcsFormatter())
        logging.getLogger().addHandler(terminal)
        c.JupyterHub.logging_config = {"formatters": {"console": {"class": ECS_FORMATTER}}}
        return
    terminal.setFormatter(logging.Formatter("[%(levelname).1s %(asctime)s %(name)s] %(message)s"))
    if settings.log_file is not None:
        handler = EcsFile(settings.log_file, settings.log_days)
        # The hub's logger lets everything through to its handlers; most of it says nothing.
        handler.setLevel(logging.INFO)
        c.JupyterHub.extra_log_handlers = [handler]
        ours.addHandler(handler)


def _login(c: Any, settings: HubSettings) -> None:
    login = settings.login
    c.Authenticator.enable_auth_state = True
    c.Authenticator.allow_all = True  # who may enter, the authenticators decide themselves
    c.Authenticator.auth_refresh_age = login.refresh_seconds
    c.Authenticator.refresh_pre_spawn = False  # the service is asked at every start
    c.Authenticator.username_pattern = USERNAME_PATTERN
    if login.openid is None:
        c.JupyterHub.authenticator_class = LocalAuthenticator
        return
    reading = reading_of(login.openid)
    c.JupyterHub.authenticator_class = OpenIDAuthenticator
    c.OpenIDAuthenticator.client_id = login.openid.client_id
    c.OpenIDAuthenticator.client_secret = os.environ["DACHUB_OIDC_CLIENT_SECRET"]
    c.OpenIDAuthenticator.basic_auth = True  # the secret is no parameter: our Provider sends it
    c.OpenIDAuthenticator.scope = list(reading.scopes)
    c.OpenIDAuthenticator.login_service = reading.title
    c.OpenIDAuthenticator.enable_pkce = True
    c.OpenIDAuthenticator.oauth_callback_url = (
        f"{settings.public_url.rstrip('/')}/hub/oauth_callback"
    )


def _servers(c: Any, settings: HubSettings) -> None:
    servers = settings.servers
    # Said of our spawner itself: what Zero to JupyterHub says of KubeSpawner would win otherwise.
    ours = c[c.JupyterHub.spawner_class.__name__]
    ours.start_timeout = servers.queue_seconds + GATE_SECONDS + servers.start_timeout_seconds
    # A hub that ended because some servers failed would take everybody's place along.
    ours.consecutive_failure_limit = NO_LIMIT
    ours.http_timeout = 30
    ours.poll_interval = 30
    if settings.pods is not None:
        ours.lost_after_seconds = settings.pods.lost_after_seconds
    ours.default_url = "/lab"
    ours.options_form = form.options_form
    ours.options_from_form = form.options_from_form


def _services(c: Any, settings: HubSettings) -> None:
    portal: dict[str, Any] = {
        "name": SERVICE,
        "url": settings.service_url,
        "api_token": os.environ["DACHUB_SERVICE_TOKEN"],
        "oauth_no_confirm": True,
        "oauth_redirect_uri": f"{PORTAL_PATH}oauth_callback",
        "display": True,
    }
    if Service.class_traits().get("timeout") is not None:
        # JupyterHub 6 would hold up its own start for a service that is down.
        portal["timeout"] = 1
    # Added to: a site may have services of its own.
    c.JupyterHub.services = [*c.JupyterHub.get("services", []), portal]
    c.JupyterHub.load_roles = [
        *c.JupyterHub.get("load_roles", []),
        {"name": "user", "scopes": ["self", USE_PORTAL]},
        {
            "name": "server",
            "scopes": ["users:activity!user", "access:servers!server", USE_PORTAL],
        },
        {
            "name": "dachub-service",
            "services": [SERVICE],
            "scopes": [
                "read:users",
                "list:users",
                "read:servers",
                "delete:servers",
                "delete:users",
                "servers",
                "admin:server_state",
                "read:tokens",
                "tokens",
            ],
        },
    ]


def _watched(c: Any) -> None:
    """Let Prometheus read ``/hub/metrics`` with the token that the service's figures want too."""
    if token := os.environ.get(METRICS_TOKEN):
        watcher = {"name": WATCHER, "api_token": token, "display": False}
        role = {"name": WATCHER, "services": [WATCHER], "scopes": ["read:metrics"]}
        c.JupyterHub.services = [*c.JupyterHub.services, watcher]
        c.JupyterHub.load_roles = [*c.JupyterHub.load_roles, role]


def _culler(c: Any, idle_seconds: int) -> None:
    every_seconds = max(10, min(300, idle_seconds // 4))
    service = {
        "name": "idle-culler",
        "display": False,
        "command": [
            *machine.ends_with_parent(),
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={idle_seconds}",
            f"--cull-every={every_seconds}",
        ],
    }
    role = {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
    c.JupyterHub.services = [service]
    c.JupyterHub.load_roles = [role]


def _pages(c: Any, settings: HubSettings) -> None:
    c.JupyterHub.template_paths = [str(form.TEMPLATES)]
    base = urlsplit(settings.public_url).path.rstrip("/")
    c.JupyterHub.template_vars = {
        "site": settings.site,
        "root": f"{base}/",
        "pressing": lambda user: Pressing(runtime.current().service, user.name) if user else None,
        "bar": lambda user: links(administers=user.admin) if user else [],
        "portal_url": base + PORTAL_PATH,
        "our_static": f"{base}/hub/{STATIC}/",
        "local_accounts": settings.login.local_accounts,
        "openid": settings.login.openid is not None,
    }
