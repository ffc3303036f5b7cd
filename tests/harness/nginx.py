"""A real nginx in front, as ``dachub deploy nginx`` has it, with an authority of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from tests.harness.platform import free_port
from tests.harness.waiting import until

PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(
    PROGRAM is None, reason="needs nginx: apt-get install nginx (make test does so as root)"
)

# Its own configuration without what would meet the system's nginx, or needs root.
MAIN = """\
daemon off;
worker_processes 1;
pid {top}/nginx.pid;
error_log {top}/error.log info;
events {{ worker_connections 8192; }}
http {{
    client_body_temp_path {top}/body;
    proxy_temp_path {top}/proxy;
    fastcgi_temp_path {top}/fastcgi;
    uwsgi_temp_path {top}/uwsgi;
    scgi_temp_path {top}/scgi;
    include {top}/conf/dachub.conf;
}}
"""


def make_authority(directory: Path, name: str = "localhost") -> None:
    """Make ``ca.pem``, and ``certificate.pem`` and ``key.pem`` for ``name`` that it vouches for."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=directory)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    authority = ["-x509", "-days", "2", "-subj", "/CN=Authority of the test"]
    openssl(*new, *authority, "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl(*new, "-subj", f"/CN={name}", "-keyout", "key.pem", "-out", "request.pem")
    (directory / "names").write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
    signing = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"]
    made = ["-in", "request.pem", "-out", "certificate.pem", "-extfile", "names", "-days", "2"]
    openssl(*signing, *made)


class Nginx:
    """One nginx, on free ports of loopback; ``settings`` says in dachub.yaml where it is."""

    def __init__(self, **own: Any) -> None:
        # Its workers are another account: the way in must be open, as it is in /etc.
        self.top = Path(tempfile.mkdtemp(prefix="dachub-nginx-", dir="/tmp"))
        self.top.chmod(0o755)
        make_authority(self.top)
        self.http_port, self.https_port = free_port(), free_port()
        self.url = f"https://localhost:{self.https_port}"
        self.conf = self.top / "conf"
        self.flag = self.conf / "maintenance"
        self.log = self.top / "access.log"
        self._own = own
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.top, ignore_errors=True)

    def settings(self) -> dict[str, Any]:
        """What dachub.yaml says of it."""
        return {
            "listen": {"public_url": self.url},
            "nginx": {
                "directory": str(self.conf),
                "certificate": str(self.top / "certificate.pem"),
                "key": str(self.top / "key.pem"),
                "http_port": self.http_port,
                "https_port": self.https_port,
                "log_file": str(self.log),
                **self._own,
            },
        }

    def start(self) -> None:
        """Run it, with what was written into ``conf``, and wait until it listens."""
        assert PROGRAM is not None
        main = self.top / "main.conf"
        main.write_text(MAIN.format(top=self.top))
        self._process = subprocess.Popen([PROGRAM, "-e", self.top / "error.log", "-c", main])

        def listens() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, (self.top / "error.log").read_text()
            with contextlib.suppress(httpx.TransportError), self.client() as client:
                return client.get("/static/pages.css").status_code == 200
            return False

        until(listens, "nginx listens")

    @property
    def pid(self) -> int:
        """Process id of the one that its workers belong to."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)

    def context(self) -> ssl.SSLContext:
        """Trusts its authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.top / "ca.pem"))

    def client(self, address: str = "127.0.0.1", **more: Any) -> httpx.Client:
        """A client of loopback's ``address`` that keeps cookies and follows nothing."""
        transport = httpx.HTTPTransport(verify=self.context(), local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, timeout=30, **more)
