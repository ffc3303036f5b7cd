"""The whole platform on the cluster: installed by ``dachub deploy``, reached through a forward."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.harness.cluster import REGISTRY, TAG, Namespace, require_cluster
from tests.harness.platform import free_port
from tests.harness.visitor import Visitor
from tests.harness.waiting import until

from dachub.config import merged

STAND_IN = Path(__file__).with_name("hub-chart")
HUB_CHART = os.environ.get("Z2JH_CHART") or str(STAND_IN)
"""Zero to JupyterHub, else our stand-in."""
HUB_VALUES = os.environ.get("Z2JH_VALUES")
"""File with values that only this cluster needs, such as where it finds other images."""
HUB_IMAGE = os.environ.get("DACHUB_TEST_HUB", "hub")
"""Whose JupyterHub runs: ``hub``, or ``hub-6`` for the coming generation."""
APPLY_SECONDS = 600
PASSWORD = "a-password-of-the-tests"
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
MIB = 1024**2


def configuration(namespace: str, url: str) -> dict[str, Any]:
    """A small site's ``dachub.yaml``."""
    context = subprocess.run(
        ["kubectl", "config", "current-context"], capture_output=True, text=True, check=True
    ).stdout.strip()
    hub_values = yaml.safe_load(Path(HUB_VALUES).read_text()) if HUB_VALUES else {}
    return {
        "site": {"name": "Test DAC", "contact": "dac@example.org"},
        "listen": {"public_url": url},
        "login": {"attempts_per_minute": 1000},
        "servers": {
            "heartbeat_seconds": 2,
            "sizes": [
                {"name": "small", "title": "Small", "milli_cores": 400, "memory_bytes": 512 * MIB},
                {"name": "tiny", "title": "Tiny", "milli_cores": 200, "memory_bytes": 384 * MIB},
                # No machine has room for it.
                {"name": "huge", "title": "Huge", "milli_cores": 10**6, "memory_bytes": 384 * MIB},
            ],
            "environments": [
                {
                    "name": "astronomy",
                    "title": "Astronomy",
                    "image": f"{REGISTRY}/dachub-notebook:{TAG}",
                }
            ],
        },
        "quota": {"reconcile_seconds": 5, "enforce_seconds": 5},
        "cluster": {
            "context": context,
            "namespace": namespace,
            "start_timeout_seconds": 240,
            "images": {"registry": REGISTRY, "tag": TAG},
            "homes": {"capacity_bytes": 10**8},
            "hub": {
                "chart": HUB_CHART,
                "repository": None,
                "values": merged(
                    {
                        "hub": {"image": {"name": f"{REGISTRY}/dachub-{HUB_IMAGE}"}},
                        "prePuller": {"hook": {"enabled": False}},
                    },
                    hub_values,
                ),
            },
            "values": {
                "service": {"resources": SMALL, "drainSeconds": 2},
                "keepOnUninstall": False,
                "database": {
                    "inside": {
                        "image": {"repository": f"{REGISTRY}/postgres", "tag": TAG},
                        "volume": {"size": "1Gi"},
                        "resources": SMALL,
                    }
                },
            },
        },
    }


class Installed:
    """The platform in one namespace.

    Parameters
    ----------
    settings
        Laid over what :func:`configuration` says.
    instance
        Which of the file's instances it is, if it is not the main one.
    """

    def __init__(
        self,
        namespace: str,
        settings: Mapping[str, Any] | None = None,
        instance: str | None = None,
    ) -> None:
        self.here = Namespace(namespace)
        self._instance = ("--instance", instance) if instance is not None else ()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.settings = merged(configuration(namespace, self.url), settings or {})
        self._directory = Path(tempfile.mkdtemp(prefix="dachub-k8s-"))
        self._forward: subprocess.Popen[bytes] | None = None

    def deploy(self, *words: str, fails: bool = False) -> str:
        """Run ``dachub deploy`` on this platform's configuration; gives what it printed."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=APPLY_SECONDS
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    def command(self, *words: str) -> list[str]:
        """``dachub deploy`` on this platform's configuration."""
        path = self._directory / "dachub.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        program = Path(sys.executable).with_name("dachub")
        return [str(program), "deploy", *words, *self._instance, "--config", str(path)]

    def apply(self) -> str:
        """Install or upgrade, and open the way in."""
        said = self.deploy("apply", "--yes")
        self.open()
        return said

    def open(self) -> None:
        """Lead our port to the proxy in the cluster; again, where that pod was replaced."""
        self.close()
        self._forward = subprocess.Popen(
            [
                *("kubectl", f"--namespace={self.here.name}", "port-forward"),
                *("service/proxy-public", f"{self._port}:80"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.answers, "the platform answers", 120)

    def close(self) -> None:
        """End the way in."""
        if self._forward is not None:
            self._forward.terminate()
            self._forward.wait()
            self._forward = None

    def answers(self) -> bool:
        """Whether hub and service answer through the proxy."""
        try:
            return all(
                httpx.get(self.url + path, timeout=5, trust_env=False).status_code == 200
                for path in ("/hub/login", "/services/dac/api/v1/health")
            )
        except httpx.HTTPError:
            return False

    def dachub(self, *words: str, text: str | None = None) -> str:
        """Run a ``dachub`` command in a pod of the service."""
        given = ["--stdin"] if text is not None else []
        return self.here.do("exec", *given, "deployment/dachub", "--", "dachub", *words, given=text)

    def administrator(self) -> Visitor:
        """The first administrator, logged in."""
        return self.visitor("admin", self.secret("admin-password"))

    def secret(self, key: str) -> str:
        """What the platform's Secret holds."""
        return base64.b64decode(self.here.get("secret", "dachub")["data"][key]).decode()

    def person(self, username: str, *groups: str) -> Visitor:
        """A new person in these groups, logged in."""
        self.dachub("user", "add", username, "--password-stdin", text=PASSWORD)
        for group in groups:
            self.dachub("group", "add-member", group, username)
        return self.visitor(username, PASSWORD)

    def visitor(self, username: str, password: str = PASSWORD) -> Visitor:
        """Somebody, logged in."""
        visitor = Visitor(self.url, username, password)

        def logged_in() -> bool:  # the hub hears of new accounts within seconds
            visitor.login()
            return visitor.is_logged_in()

        until(logged_in, f"{username} is logged in", 60, pause_seconds=1)
        return visitor

    def pod(self, username: str) -> dict[str, Any]:
        """The pod of somebody's server."""
        return self.here.get("pod", self.pod_name(username))

    def pod_name(self, username: str) -> str:
        """Its name."""
        return f"jupyter-{username}"

    def sessions(self, username: str | None = None) -> list[dict[str, Any]]:
        """What the ledger has of somebody, or of all; the newest last."""
        listed = json.loads(self.dachub("session", "list", "--limit=1000", "--json"))
        return sorted(
            (one for one in listed if username in {None, one["username"]}),
            key=lambda one: str(one["session_id"]),
        )

    def last_session(self, username: str) -> dict[str, Any]:
        """The newest of somebody's sessions."""
        return self.sessions(username)[-1]

    def wait_until_ended(self, username: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the ledger knows that somebody's newest session ended; gives it."""
        until(
            lambda: any(one["ended_at"] is not None for one in self.sessions(username)[-1:]),
            f"the session of {username} has ended in the ledger",
            seconds,
            pause_seconds=1,
        )
        return self.last_session(username)

    def wait_until_ready(self) -> None:
        """Wait until every workload is ready again."""
        for name in ("deployment/hub", "deployment/proxy", "deployment/dachub"):
            self.here.do("rollout", "status", name, "--timeout=180s")
        self.here.do("rollout", "status", "statefulset/dachub-postgres", "--timeout=180s")


@contextmanager
def installed(
    namespace: str,
    settings: Mapping[str, Any] | None = None,
    first: Callable[[Namespace], None] | None = None,
) -> Iterator[Installed]:
    """Install the platform; it goes at the end, with all that it left.

    Parameters
    ----------
    first
        Puts what the site has into the namespace, before anything is installed.
    """
    with running(Installed(namespace, settings), first) as platform:
        yield platform


@contextmanager
def running(
    platform: Installed, first: Callable[[Namespace], None] | None = None
) -> Iterator[Installed]:
    """Install a platform that was described; see :func:`installed`."""
    require_cluster()
    namespace = platform.here.name
    platform.here.do("delete", "namespace", namespace, "--ignore-not-found")
    try:
        if first is not None:
            platform.here.do("create", "namespace", namespace)
            first(platform.here)
        platform.apply()
        yield platform
    finally:
        platform.close()
        if not os.environ.get("DACHUB_TEST_KEEP"):
            platform.deploy("remove", "--namespace", namespace)  # also what no namespace holds
            platform.here.do("delete", "namespace", namespace, "--ignore-not-found")


def moment(text: str) -> datetime:
    """A time as the cluster or the ledger writes it."""
    return datetime.fromisoformat(text)


def finished_at(pod: Mapping[str, Any]) -> datetime:
    """When the server in a pod ended."""
    state = pod["status"]["containerStatuses"][0]["state"]
    return moment(state["terminated"]["finishedAt"])


def pause(seconds: float) -> None:
    """Let the ledger's seconds pass."""
    time.sleep(seconds)
