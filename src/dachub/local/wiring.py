"""Who listens where on one machine, and what each part is told."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ValidationError

import dachub.hub
from dachub.config import (
    METRICS_TOKEN,
    OPENID_CLIENT_SECRET,
    SMTP_PASSWORD,
    Settings,
    metrics_token,
    openid_client_secret,
    smtp_password,
)
from dachub.hub.settings import HubSettings, MachineSettings
from dachub.infra.files import write_private
from dachub.local.layout import Layout
from dachub.local.processes import ChildSpec
from dachub.local.supervision import Supervisor
from dachub.model.problems import Unavailable

LOOPBACK = "127.0.0.1"
# Below the ports that Linux hands to outgoing connections, which could take one of ours while a
# part of the platform is being restarted.
PORTS = range(20000, 32768)
USER_ENVIRONMENT = "DACHUB_USER_ENVIRONMENT"
API_PATH = "/services/dac/api/v1"


class Endpoints(BaseModel):
    """Ports and addresses in use; the same at every start while they are free.

    Users' servers that outlive a restart keep calling the hub where they once found it.
    """

    public_url: str
    bind_url: str
    hub_port: int
    proxy_api_port: int
    service_port: int
    postgres_port: int

    @property
    def service_url(self) -> str:
        """Where the service listens."""
        return f"http://{LOOPBACK}:{self.service_port}"

    @property
    def hub_api_url(self) -> str:
        """The hub's own REST API."""
        return f"http://{LOOPBACK}:{self.hub_port}/hub/api"

    @classmethod
    def read(cls, layout: Layout) -> Endpoints | None:
        """Those of the last start."""
        try:
            return cls.model_validate_json(layout.endpoints.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError):
            return None

    @classmethod
    def choose(cls, layout: Layout, settings: Settings) -> Endpoints:
        """Choose free ports, those of the last start where possible, and keep the choice."""
        last = cls.read(layout)
        names = ("hub_port", "proxy_api_port", "service_port", "postgres_port")
        ports: dict[str, int] = {}
        for name in names:
            before = getattr(last, name, None)
            ports[name] = before if before and _is_free(before) else _free_port(ports.values())
        listen = settings.listen
        scheme = "http" if settings.tls.certificate is None else "https"
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        bind_url = f"{scheme}://{host}:{listen.port}"
        anywhere = listen.host in {"0.0.0.0", "::", ""}  # noqa: S104  compared, not bound
        named = f"{scheme}://{socket.getfqdn()}:{listen.port}" if anywhere else bind_url
        public_url = (listen.public_url or named).rstrip("/")
        chosen = cls(public_url=public_url, bind_url=bind_url, **ports)
        write_private(layout.endpoints, chosen.model_dump_json(indent=1) + "\n")
        return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port(taken: Collection[int]) -> int:
    for port in random.sample(PORTS, 200):
        if port not in taken and _is_free(port):
            return port
    raise Unavailable("No free port was found for the parts of the platform.")


def with_interpreters(settings: Settings) -> Settings:
    """Fill in the interpreter of environments that name none, where one was set up for us."""
    default = _default_interpreter()
    if default is None:
        return settings
    environments = tuple(
        environment
        if environment.interpreter is not None or environment.versions
        else environment.model_copy(update={"interpreter": str(default)})
        for environment in settings.servers.environments
    )
    servers = settings.servers.model_copy(update={"environments": environments})
    return settings.model_copy(update={"servers": servers})


def _default_interpreter() -> Path | None:
    """What ``make`` told us, else what it set up beside the environment we run in."""
    if named := os.environ.get(USER_ENVIRONMENT):
        return Path(named)
    here = Path(sys.prefix)
    beside = (
        here.parent / ".environments" / "astronomy",
        here.resolve().parent / "astronomy",
    )
    return next((at.resolve() / "bin" / "python" for at in beside if at.is_dir()), None)


def hub_settings(layout: Layout, settings: Settings, endpoints: Endpoints) -> HubSettings:
    """What the hub is told."""
    return HubSettings(
        site=settings.site,
        login=settings.login,
        servers=settings.servers,
        state_directory=layout.hub,
        service_url=endpoints.service_url,
        public_url=endpoints.public_url,
        behind_proxy=_is_behind_proxy(settings),
        log_file=layout.logs / "hub.json",
        log_days=settings.privacy.logs_days,
        machine=MachineSettings(
            bind_url=endpoints.bind_url,
            hub_port=endpoints.hub_port,
            proxy_api_port=endpoints.proxy_api_port,
            tls_certificate=settings.tls.certificate,
            tls_key=settings.tls.key,
            homes=settings.storage.homes,
            group_links=settings.storage.group_links,
            unix_accounts=os.geteuid() == 0,
            log_directory=layout.server_logs,
        ),
    )


def _is_behind_proxy(settings: Settings) -> bool:
    listen = settings.listen
    return listen.behind_proxy or (listen.is_loopback and listen.public_url is not None)


def service_child(
    layout: Layout,
    settings: Settings,
    endpoints: Endpoints,
    database_url: str,
    supervisor: Supervisor,
) -> ChildSpec:
    """How to start the service."""
    secrets = {SMTP_PASSWORD: smtp_password(settings), METRICS_TOKEN: metrics_token(settings)}
    return ChildSpec(
        command=[sys.executable, "-m", "dachub.server"],
        directory=layout.run,
        environment={
            "DACHUB_DATA": str(layout.data),
            "DACHUB_CONFIG": str(layout.config),
            "DACHUB_DATABASE_URL": database_url,
            "DACHUB_HUB_TOKEN": layout.secret("hub-token"),
            "DACHUB_SERVICE_TOKEN": layout.secret("service-token"),
            "DACHUB_HUB_API_URL": endpoints.hub_api_url,
            "DACHUB_PUBLIC_URL": endpoints.public_url,
            "DACHUB_SERVICE_PORT": str(endpoints.service_port),
            "DACHUB_LOG_FILE": str(layout.logs / "service.json"),
            "DACHUB_PORTAL_SECRET": layout.secret("portal-secret"),
            **{name: secret for name, secret in secrets.items() if secret},
        },
        record=supervisor.record_path("service"),
    )


def hub_child(
    layout: Layout, settings: Settings, endpoints: Endpoints, supervisor: Supervisor
) -> ChildSpec:
    """Write the hub's settings; returns how to start it."""
    path = layout.hub / "settings.json"
    written = hub_settings(layout, settings, endpoints)
    write_private(path, written.model_dump_json(indent=1) + "\n")
    programs = Path(sys.executable).parent  # the proxy's program is beside our interpreter
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DACHUB_HUB_SETTINGS": str(path),
        "DACHUB_HUB_TOKEN": layout.secret("hub-token"),
        "DACHUB_SERVICE_TOKEN": layout.secret("service-token"),
        "CONFIGPROXY_AUTH_TOKEN": layout.secret("proxy-token"),
        "JUPYTERHUB_CRYPT_KEY": layout.secret("crypt-key"),
        # JupyterHub wants it as hexadecimal digits in this variable.
        "JPY_COOKIE_SECRET": layout.secret("cookie-secret"),
    }
    secrets = {
        OPENID_CLIENT_SECRET: openid_client_secret(settings),
        METRICS_TOKEN: metrics_token(settings),
    }
    environment |= {name: secret for name, secret in secrets.items() if secret}
    configuration = Path(dachub.hub.__path__[0]) / "jupyterhub_config.py"
    return ChildSpec(
        command=[sys.executable, "-m", "jupyterhub", "-f", str(configuration)],
        directory=layout.hub,  # the hub keeps the number of its proxy's process there
        environment=environment,
        record=supervisor.record_path("hub"),
    )
