"""A machine of the cluster that is only played: it can fall silent, come back, and be removed."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import httpx
from tests.harness.cluster import REGISTRY, TAG

TAINT = "dachub-test/played"
"""Keeps the pods of others off; its label of the same name leads ours there."""
BEAT_SECONDS = 2
LEASE_SECONDS = 40
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
SAYS_YES = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8888), Handler).serve_forever()
"""
PEOPLES = "singleuser-server"


class Machine:
    """Plays a machine's kubelet: its lease, its state, and the states of the pods placed there.

    People's servers get the address of one real pod in their namespace, which answers for all.

    Parameters
    ----------
    api
        The cluster's, reached without a login (``kubectl proxy``).
    milli_cores
        What it has.
    """

    def __init__(self, api: httpx.Client, name: str, group: str, milli_cores: int) -> None:
        self.name = name
        self._api = api
        self._group = group
        self._milli_cores = milli_cores
        self._silent = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        labels = {TAINT: self._group, "kubernetes.io/hostname": self.name}
        labels |= {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        taint = {"key": TAINT, "value": self._group, "effect": "NoSchedule"}
        node = {"metadata": {"name": self.name, "labels": labels}, "spec": {"taints": [taint]}}
        self.remove()
        self._api.post("/api/v1/nodes", json=node).raise_for_status()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for pod in self._pods():
            self._forget(pod)
        self.remove()

    def fall_silent(self) -> None:
        """Say nothing more, as without power or network."""
        self._silent.set()

    def speak(self) -> None:
        """Come back."""
        self._silent.clear()

    def remove(self) -> None:
        """Take it out of the cluster, as a cloud does with a machine that it has no more."""
        self._api.delete(f"/api/v1/nodes/{self.name}")
        self._api.delete(f"{LEASES}/{self.name}")

    # Inside

    def _run(self) -> None:
        while not self._ended.is_set():
            if not self._silent.is_set():
                self._beat()
            self._ended.wait(BEAT_SECONDS)

    def _beat(self) -> None:
        at = datetime.now(UTC)
        lease = {
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            },
        }
        if self._api.patch(f"{LEASES}/{self.name}", json=lease, headers=MERGE).status_code == 404:
            self._api.post(LEASES, json=lease)
        room = {"cpu": f"{self._milli_cores}m", "memory": "8Gi", "pods": "20"}
        room["ephemeral-storage"] = "20Gi"
        ready = {"type": "Ready", "status": "True", "reason": "Played"}
        ready |= {"lastHeartbeatTime": _text(at), "lastTransitionTime": _text(at)}
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        self._api.patch(
            f"/api/v1/nodes/{self.name}/status", json={"status": status}, headers=STRATEGIC
        )
        for pod in self._pods():
            self._attend(pod, at)

    def _pods(self) -> list[dict[str, Any]]:
        fields = {"fieldSelector": f"spec.nodeName={self.name}"}
        found = self._api.get("/api/v1/pods", params=fields).raise_for_status()
        pods: list[dict[str, Any]] = found.json()["items"]
        return pods

    def _attend(self, pod: dict[str, Any], at: datetime) -> None:
        """Start a pod, end it, or say that it runs, as a kubelet does."""
        if pod["status"].get("phase") in {"Succeeded", "Failed"}:
            if "deletionTimestamp" in pod["metadata"]:
                self._forget(pod)
            return
        began = pod["status"].get("startTime", _text(at))
        if "deletionTimestamp" in pod["metadata"]:
            end = {"exitCode": 0, "reason": "Completed"}
            state = {"terminated": end | {"startedAt": began, "finishedAt": _text(at)}}
            self._say(pod, "Succeeded", state, at)
            self._forget(pod)
        elif not _is_ready(pod) and (address := self._address(pod)):
            self._say(pod, "Running", {"running": {"startedAt": began}}, at, address)

    def _say(
        self, pod: Mapping[str, Any], phase: str, state: object, at: datetime, address: str = ""
    ) -> None:
        runs = "True" if phase == "Running" else "False"
        status: dict[str, Any] = {
            "phase": phase,
            "startTime": pod["status"].get("startTime", _text(at)),
            "conditions": [
                {"type": kind, "status": runs, "lastTransitionTime": _text(at)}
                for kind in ("Initialized", "Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": one["name"],
                    "image": one["image"],
                    "imageID": one["image"],
                    "ready": runs == "True",
                    "restartCount": 0,
                    "state": state,
                }
                for one in pod["spec"]["containers"]
            ],
        }
        if address:
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        self._api.patch(f"{_path(pod)}/status", json={"status": status}, headers=MERGE)

    def _forget(self, pod: Mapping[str, Any]) -> None:
        self._api.delete(_path(pod), params={"gracePeriodSeconds": 0})

    def _address(self, pod: Mapping[str, Any]) -> str:
        """Where a pod answers; empty as long as that is not known."""
        labels = pod["metadata"].get("labels") or {}
        if labels.get("component") != PEOPLES:
            return "192.0.2.1"  # of no use, and nobody's
        namespace = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
        found = self._api.get(f"{namespace}/played-servers")
        if found.status_code == 404:
            kept = {key: labels[key] for key in ("app", "component", "release") if key in labels}
            self._api.post(namespace, json=_answering(kept))
            return ""
        status = found.json()["status"]
        return str(status.get("podIP", "")) if _is_ready(found.json()) else ""


@contextmanager
def machines(*names: str, group: str, milli_cores: int) -> Iterator[list[Machine]]:
    """Machines of these names for the pods that ask for this group."""
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", line := proxy.stdout.readline())
        assert found, f"kubectl proxy: {line}"
        try:
            with (
                httpx.Client(base_url=f"http://{found[0]}", trust_env=False, timeout=30) as api,
                ExitStack() as running,
            ):
                yield [
                    running.enter_context(Machine(api, name, group, milli_cores)) for name in names
                ]
        finally:
            proxy.terminate()


def placed_on(group: str) -> dict[str, Any]:
    """What leads servers onto machines of a group, as Zero to JupyterHub takes it."""
    return {
        "storage": {"type": "none"},  # nothing can be attached there
        "nodeSelector": {TAINT: group},
        "extraTolerations": [{"key": TAINT, "operator": "Exists", "effect": "NoSchedule"}],
    }


LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def _answering(labels: Mapping[str, str]) -> dict[str, Any]:
    """A real pod that says yes to everything, fenced as people's servers are."""
    container = {
        "name": "notebook",
        "image": f"{REGISTRY}/dachub-notebook:{TAG}",
        "command": ["python", "-c", SAYS_YES],
        "ports": [{"name": "notebook-port", "containerPort": 8888}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    return {
        "metadata": {"name": "played-servers", "labels": dict(labels)},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _path(pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
