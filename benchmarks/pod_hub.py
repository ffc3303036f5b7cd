"""JupyterHub on this machine with servers as pods on simulated ones: dachub's way, and as it comes.

Both are told the same of hub, proxy and pods; the one has dachub's plugin beside it, and a real
service on a real PostgreSQL. The proxy is a process of its own, as in Zero to JupyterHub.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import yaml
from tests.conftest import Databases, running_postgres
from tests.harness.platform import free_port
from tests.harness.waiting import until
from tests.server.service import HUB_TOKEN, SERVICE_TOKEN, Service

from benchmarks.simulated import MARK, Machines
from dachub import migrations
from dachub.hub.outbox import Outbox
from dachub.hub.settings import HubSettings, PodSettings, ServerSettings
from dachub.model.people import GroupMembership, HubPerson, Role, Source
from dachub.model.site import Size
from dachub.model.software import Environment

GROUP = "survey"
MILLI_CORES = 1000
IMAGE = "nothing.invalid/server:1"
TOKEN = "token-of-whoever-measures"
AUTHORIZED = {"Authorization": f"token {TOKEN}"}
CRYPT_KEY = "0" * 64
OFFER = ServerSettings(
    sizes=(Size(name="small", title="Small", milli_cores=MILLI_CORES, memory_bytes=1024**3),),
    environments=(Environment(name="tiny", title="Tiny", image=IMAGE),),
    idle_stop_seconds=None,
)
CONFIGURATION = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite:///{directory}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie"
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.KubeSpawner.namespace = "{namespace}"
c.KubeSpawner.image = "{image}"
c.KubeSpawner.port = {server_port}
c.KubeSpawner.node_selector = {{"{mark}": "{namespace}"}}
c.KubeSpawner.tolerations = [{{"key": "{mark}", "value": "{namespace}"}}]
c.KubeSpawner.delete_grace_period = 1
c.JupyterHub.services = [
    *c.JupyterHub.get("services", []),
    {{"name": "measuring", "api_token": "{token}", "display": False}},
]
c.JupyterHub.load_roles = [
    *c.JupyterHub.get("load_roles", []),
    {{"name": "measuring", "services": ["measuring"],
      "scopes": ["admin:users", "admin:servers", "read:metrics"]}},
]
"""
PLAIN = """
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.KubeSpawner.cpu_limit = 1
c.KubeSpawner.mem_limit = "1G"
c.KubeSpawner.start_timeout = 600
c.JupyterHub.active_server_limit = 0
"""
DACHUB = """
import dachub.hub
dachub.hub.configure(c)
"""
_PEOPLE = """
insert into research_group (slug, title, description, created_at)
values ('{group}', 'Survey', '', now());
insert into person (username, issuer, subject, full_name, email, is_administrator, created_at)
select 'user' || lpad(i::text, 5, '0'), 'local', 'user' || lpad(i::text, 5, '0'), '', '', false,
       now()
from generate_series(0, {people} - 1) i;
insert into membership (username, "group", role, source, valid_from)
select 'user' || lpad(i::text, 5, '0'), '{group}', 'member', 'local', now() - interval '1 day'
from generate_series(0, {people} - 1) i
"""


def names(count: int) -> list[str]:
    """Usernames of people."""
    return [f"user{number:05d}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class Accounts:
    """A service that knows people, all of one group, and its database."""

    service: Service
    database: str

    def sessions(self, where: str = "true") -> int:
        """How many sessions are in the ledger."""
        with psycopg.connect(self.database) as connection:
            found = connection.execute(f"select count(*) from session where {where}".encode())
            row = found.fetchone()
        return int(row[0]) if row else 0

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the service so far."""
        assert self.service.process is not None
        return _cpu_seconds(self.service.process.pid)


class PodHub:
    """One hub, its database and its proxy; it may be started again and again.

    Parameters
    ----------
    service
        Where dachub's service listens; ``None`` for JupyterHub as it comes.
    more
        Further lines of its configuration.
    """

    def __init__(
        self,
        directory: Path,
        machines: Machines,
        service: Service | None = None,
        *,
        hub_port: int | None = None,
        more: str = "",
    ) -> None:
        self.name = "plain" if service is None else "dachub"
        self.directory = directory / self.name
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.port, self._proxy_api_port = free_port(), free_port()
        self.hub_port = hub_port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"http://127.0.0.1:{self.hub_port}/hub/api"
        self.log = self.directory / "hub.log"
        self._machines, self._service = machines, service
        self._proxy_token = secrets.token_hex(16)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KUBECONFIG": os.environ["KUBECONFIG"],
            "POD_NAMESPACE": machines.here.name,
            "CONFIGPROXY_AUTH_TOKEN": self._proxy_token,
            "JUPYTERHUB_CRYPT_KEY": CRYPT_KEY,
        }
        text = PLAIN if service is None else DACHUB + self._plugin(service)
        (self.directory / "jupyterhub_config.py").write_text(text + self._common() + more)
        self._hub: subprocess.Popen[bytes] | None = None
        self._proxy: subprocess.Popen[bytes] | None = None

    @property
    def outbox(self) -> Path:
        """The outbox's file."""
        return self.directory / "outbox.sqlite"

    @property
    def database(self) -> str:
        """The hub's own database."""
        return f"sqlite:///{self.directory}/hub.sqlite"

    def _common(self) -> str:
        return CONFIGURATION.format(
            port=self.port,
            hub_port=self.hub_port,
            proxy_api_port=self._proxy_api_port,
            directory=self.directory,
            namespace=self._machines.here.name,
            image=IMAGE,
            server_port=self._machines.port,
            mark=MARK,
            token=TOKEN,
        )

    def _plugin(self, service: Service) -> str:
        settings = HubSettings(
            servers=OFFER,
            state_directory=self.directory,
            service_url=f"http://127.0.0.1:{service.port}",
            public_url=self.url,
            pods=PodSettings(),
        )
        path = self.directory / "settings.json"
        path.write_text(settings.model_dump_json())
        self._environment |= {
            "DACHUB_HUB_SETTINGS": str(path),
            "DACHUB_HUB_TOKEN": HUB_TOKEN,
            "DACHUB_SERVICE_TOKEN": SERVICE_TOKEN,
        }
        return ""

    def start_proxy(self) -> None:
        """Start the proxy, which outlives the hub."""
        proxy = Path(sys.executable).with_name("configurable-http-proxy")
        self._proxy = self._begin(
            str(proxy), "--ip=127.0.0.1", f"--port={self.port}", "--api-ip=127.0.0.1",
            f"--api-port={self._proxy_api_port}", "--log-level=warning",
            f"--default-target=http://127.0.0.1:{self.hub_port}",
        )  # fmt: skip

    def start(self) -> None:
        """Start the hub, without waiting."""
        self._hub = self._begin(sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py")

    def _begin(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as out:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                cwd=self.directory, env=self._environment, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def stop(self) -> float:
        """Stop the hub; servers and proxy go on. Gives the seconds that it took."""
        begun = time.perf_counter()
        if self._hub is not None:
            self._hub.send_signal(signal.SIGTERM)
            self._hub.wait(120)
            self._hub = None
        return time.perf_counter() - begun

    def close(self) -> None:
        """Stop hub and proxy."""
        self.stop()
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait()

    def answers(self) -> bool:
        """Whether the hub serves."""
        assert self._hub is not None
        if self._hub.poll() is not None:
            raise AssertionError(f"The hub ended: {self.log.read_text()[-4000:]}")
        try:
            return httpx.get(f"{self.api}/", timeout=60, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def until_served(self, seconds: float = 120) -> float:
        """Wait until the hub serves; gives the seconds since now."""
        begun = time.perf_counter()
        until(self.answers, f"the hub answers ({self.log})", seconds)
        return time.perf_counter() - begun

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask the hub's API as whoever measures."""
        return httpx.request(
            method, self.api + path, headers=AUTHORIZED, timeout=120, trust_env=False, **arguments
        )

    def figures(self) -> str:
        """What it shows Prometheus."""
        url, headers = f"http://127.0.0.1:{self.hub_port}/hub/metrics", AUTHORIZED
        return httpx.get(url, headers=headers, timeout=60, trust_env=False).text

    @property
    def running_servers(self) -> int:
        """How many servers run, by the hub's own figures."""
        found = re.search(r"(?m)^jupyterhub_running_servers (\S+)$", self.figures())
        assert found is not None
        return int(float(found[1]))

    def has_servers(self) -> bool:
        """Whether a server runs, starts or stops; the figure above is not exact after a storm."""
        return bool(self.ask("GET", "/users?state=active&limit=1").json())

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the hub since it began."""
        assert self._hub is not None
        return _cpu_seconds(self._hub.pid)

    @property
    def peak_bytes(self) -> int:
        """The most memory that the hub has had."""
        assert self._hub is not None
        status = Path(f"/proc/{self._hub.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    @property
    def memory_bytes(self) -> int:
        """What it has now."""
        assert self._hub is not None
        return int(psutil.Process(self._hub.pid).memory_info().rss)


async def remember_people(outbox: Outbox, people: int) -> None:
    """Have the hub remember people as if each had logged in."""
    membership = GroupMembership(group=GROUP, title="Survey", role=Role.MEMBER, source=Source.LOCAL)
    known = (HubPerson(username=name, groups=[membership]) for name in names(people))
    await asyncio.gather(*(outbox.save_person(person) for person in known))
    await asyncio.gather(*(outbox.bind("local", name, name) for name in names(people)))


@contextmanager
def running(hub: PodHub) -> Iterator[PodHub]:
    """A hub with its proxy that serves; both end."""
    try:
        hub.start_proxy()
        hub.start()
        hub.until_served()
        yield hub
    finally:
        hub.close()


@contextmanager
def accounts(people: int, hub_port: int, **quota: int) -> Iterator[Accounts]:
    """The service on a PostgreSQL that writes to disk."""
    with (
        running_postgres(durable=True) as url,
        tempfile.TemporaryDirectory(prefix="dachub-bench-", dir="/tmp") as directory,
    ):
        database = Databases(url).create()
        migrations.upgrade(database)
        with psycopg.connect(database) as connection:
            for statement in _PEOPLE.format(group=GROUP, people=people).split(";"):
                connection.execute(statement.encode())
        offer = OFFER.model_dump(mode="json", include={"sizes", "environments"})
        service = Service(
            Path(directory),
            database,
            hub_api_url=f"http://127.0.0.1:{hub_port}/hub/api",
            settings=yaml.safe_dump({"servers": offer, "quota": quota}),
        )
        service.start()
        try:
            service.until_health(200, seconds=60)
            yield Accounts(service, database)
        finally:
            service.stop()


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
