"""Machines that exist in the cluster's API only, for thousands of pods that cost next to nothing.

kwok plays their kubelets: a pod there runs as soon as it has its place. All such pods have this
machine's loopback as their address, where one listener answers in the place of every server. Label
and taint are the namespace's, so that nobody else's pods come, and no other kwok sees to them.
Needs KUBECONFIG, and kwok in the PATH.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.harness.cluster import Namespace, require_cluster

MARK = "dachub-bench"
PODS_OF_A_MACHINE = 500
STAGES = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: machine}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector:
    matchExpressions:
    - {key: '.status.conditions.[] | select( .type == "Ready" ) | .status',
       operator: NotIn, values: ["True"]}
  next:
    statusTemplate: |
      conditions:
      {{ range NodeConditions }}
      - {lastHeartbeatTime: {{ Now | Quote }}, lastTransitionTime: {{ Now | Quote }},
         message: {{ .message | Quote }}, reason: {{ .reason | Quote }},
         status: {{ .status | Quote }}, type: {{ .type | Quote }}}
      {{ end }}
      phase: Running
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: runs}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: '.metadata.deletionTimestamp', operator: DoesNotExist}
    - {key: '.status.phase', operator: In, values: [Pending]}
  next:
    statusTemplate: |
      phase: Running
      podIP: 127.0.0.1
      podIPs: [{ip: 127.0.0.1}]
      startTime: {{ Now | Quote }}
      conditions:
      {{ range $index, $type := list "Initialized" "Ready" "ContainersReady" "PodScheduled" }}
      - {lastTransitionTime: {{ Now | Quote }}, status: "True", type: {{ $type }}}
      {{ end }}
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        imageID: ""
        ready: true
        started: true
        restartCount: 0
        state: {running: {startedAt: {{ Now | Quote }}}}
      {{ end }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: gone}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: '.metadata.deletionTimestamp', operator: Exists}
  next: {delete: true}
"""
ANSWER = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True, slots=True)
class Machines:
    """Where pods go, and what answers for them.

    Attributes
    ----------
    port
        On loopback, of every server.
    """

    here: Namespace
    names: list[str]
    port: int


@contextmanager
def machines(namespace: str, count: int) -> Iterator[Machines]:
    """So many machines and a namespace for their pods; all of it goes at the end."""
    require_cluster()
    if shutil.which("kwok") is None:
        pytest.skip("this needs kwok in the PATH: it plays the machines")
    here, names = Namespace(namespace), [f"{namespace}-{number}" for number in range(count)]
    here.do("delete", "namespace", namespace, "--ignore-not-found")
    here.do("create", "namespace", namespace)
    with _kwok(namespace), _answering() as port:
        try:
            here.do("apply", "--filename=-", given=[_machine(name, namespace) for name in names])
            here.do("wait", "--for=condition=Ready", *(f"node/{name}" for name in names),
                    "--timeout=60s")  # fmt: skip
            yield Machines(here, names, port)
        finally:
            # By one request: kubectl would ask for each pod.
            pods = f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0"
            here.kubectl("delete", "--raw", pods)
            here.do("delete", "node", *names)
            here.do("delete", "namespace", namespace, "--ignore-not-found", "--timeout=300s")


def _machine(name: str, mark: str) -> dict[str, object]:
    room = {"cpu": "10k", "memory": "100Ti", "pods": str(PODS_OF_A_MACHINE)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {MARK: mark, "kubernetes.io/hostname": name}},
        "spec": {"taints": [{"key": MARK, "value": mark, "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    }


@contextmanager
def _kwok(mark: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="dachub-kwok-") as directory:
        stages = Path(directory) / "stages.yaml"
        stages.write_text(STAGES)
        with (Path(directory) / "log").open("wb") as log:
            kwok = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM", "--", "kwok"),
                    f"--kubeconfig={os.environ['KUBECONFIG']}",
                    f"--manage-nodes-with-label-selector={MARK}={mark}",
                    "--node-lease-duration-seconds=40",
                    f"--config={stages}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            kwok.terminate()
            kwok.wait()


@contextmanager
def _answering() -> Iterator[int]:
    """One listener for all servers, in a thread; gives its port."""
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def server_pod(name: str, machine: str, on: Machines, labels: dict[str, str]) -> dict[str, object]:
    """A server that has its place, in about as many words as Zero to JupyterHub makes of it."""
    environment = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(40)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": on.here.name, "labels": labels},
        "spec": {
            "nodeName": machine,
            "tolerations": [{"key": MARK, "operator": "Exists"}],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "notebook",
                    "image": "nothing.invalid/server:1",
                    "env": environment,
                    "ports": [{"name": "notebook-port", "containerPort": on.port}],
                }
            ],
        },
    }
