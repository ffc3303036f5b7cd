"""What volumes hold, from a cluster that answers as a real one (Kubernetes 1.37) did."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dachub.model.storage import StorageMethod
from dachub.storage.models import Measurement
from dachub.storage.volumes import ClusterUnavailable, ClusterVolumes

TOKEN = "first-token"


def claim(name: str, username: str | None) -> dict[str, Any]:
    annotations = {} if username is None else {"hub.jupyter.org/username": username}
    return {"metadata": {"name": name, "namespace": "dac", "annotations": annotations}}


def volume(name: str, used: int, files: int, namespace: str = "dac") -> dict[str, Any]:
    """A volume of a pod, as a kubelet tells it."""
    return {
        "time": "2026-11-24T14:10:44Z",
        "availableBytes": 25273253888,
        "capacityBytes": 25276514304,
        "usedBytes": used,
        "inodesFree": 3085485,
        "inodes": 3085512,
        "inodesUsed": files,
        "name": "home",
        "pvcRef": {"name": name, "namespace": namespace},
    }


def pod(*volumes: dict[str, Any]) -> dict[str, Any]:
    token = {"time": "2026-11-24T14:10:44Z", "usedBytes": 12288, "name": "kube-api-access-g2t7h"}
    told: dict[str, Any] = {
        "podRef": {"name": "jupyter-ada", "namespace": "dac", "uid": "eea1b5f3"},
        "startTime": "2026-11-24T14:10:24Z",
    }
    return told | ({"volume": [*volumes, token]} if volumes else {})


def certify(directory: Path, name: str) -> None:
    """Make a certificate of this machine, which stands for itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=cluster", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", f"{name}.key", "-out", f"{name}.crt"],
        check=True, capture_output=True, cwd=directory,
    )  # fmt: skip


class Cluster:
    """The API and the kubelet of one machine, and another machine that does not answer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokens = {TOKEN}
        self.claims = [claim("claim-ada", "ada"), claim("claim-ben", "ben"), claim("other", None)]
        self.pods: list[dict[str, Any]] = [pod(), pod(volume("claim-ada", 3260416, 27))]
        self.asked: list[str] = []
        certify(directory, "ca")
        (directory / "token").write_text(TOKEN)
        (directory / "namespace").write_text("dac")
        self._servers = [self._serve() for _ in range(2)]
        self.api_port, self.kubelet_port = (server.server_port for server in self._servers)

    @property
    def environ(self) -> dict[str, str]:
        """What the cluster puts into a pod's environment."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.api_port),
        }

    def volumes(self, certificates: Path | None = None) -> ClusterVolumes:
        return ClusterVolumes(certificates, account=self.directory, environ=self.environ)

    def answer(self, port: int, path: str, token: str) -> tuple[int, object]:
        """Status and body."""
        parts = urlsplit(path)
        self.asked.append(parts.path)
        if token not in self.tokens:
            return 401, {"kind": "Status", "code": 401}
        if port == self.kubelet_port:
            return 200, {"node": {"nodeName": "node1"}, "pods": self.pods}
        if parts.path == "/api/v1/nodes":
            return 200, self._page(
                [self._machine(self.kubelet_port), self._machine(1)], parts.query
            )
        assert parts.path == "/api/v1/namespaces/dac/persistentvolumeclaims"
        assert parse_qs(parts.query)["labelSelector"] == ["component=singleuser-storage"]
        return 200, self._page(self.claims, parts.query)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()

    def _page(self, items: list[Any], query: str) -> object:
        """Two at a time, however many are asked for, which an API may do."""
        begin = int(parse_qs(query).get("continue", ["0"])[0])
        more = {"continue": str(begin + 2)} if len(items) > begin + 2 else {}
        return {"metadata": {"resourceVersion": "1", **more}, "items": items[begin : begin + 2]}

    def _machine(self, port: int) -> dict[str, Any]:
        return {
            "metadata": {"name": "node1"},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "127.0.0.1"},
                    {"type": "Hostname", "address": "node1"},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        }

    def _serve(self) -> ThreadingHTTPServer:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, told = cluster.answer(self.server.server_address[1], self.path, token)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(told).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "ca.crt", self.directory / "ca.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


async def test_mounted_homes_are_measured_and_others_known(cluster: Cluster) -> None:
    found = {each.username: each.measured for each in await cluster.volumes().read()}
    assert found == {
        "ada": Measurement(
            method=StorageMethod.VOLUME, bytes=3260416, allocated_bytes=3260416, files=27
        ),
        "ben": None,
    }


async def test_a_claim_of_the_same_name_elsewhere_is_another(cluster: Cluster) -> None:
    cluster.pods = [pod(volume("claim-ben", 5, 1, namespace="elsewhere"))]
    assert all(each.measured is None for each in await cluster.volumes().read())


async def test_the_token_is_read_anew_each_time(cluster: Cluster) -> None:
    volumes = cluster.volumes()
    await volumes.read()
    cluster.tokens = {"second-token"}
    with pytest.raises(ClusterUnavailable):
        await volumes.read()
    (cluster.directory / "token").write_text("second-token")
    assert len(await volumes.read()) == 2


async def test_the_token_is_shown_to_no_machine_whose_certificate_is_not_signed(
    cluster: Cluster,
) -> None:
    certify(cluster.directory, "other")
    found = await cluster.volumes(cluster.directory / "other.crt").read()
    assert all(each.measured is None for each in found)
    assert "/stats/summary" not in cluster.asked


async def test_what_cannot_be_understood_is_left_out(cluster: Cluster) -> None:
    cluster.pods = [{"volume": "many"}]
    assert all(each.measured is None for each in await cluster.volumes().read())


async def test_outside_a_cluster_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable, match=r"ca\.crt|No such file"):
        await ClusterVolumes(account=tmp_path, environ={}).read()
