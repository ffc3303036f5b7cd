"""The peer: JupyterHub as it comes, with its own simple spawner, login and the same proxy."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import httpx
from tests.harness.platform import free_port
from tests.harness.waiting import until
from tests.harness.witness import TINY_SERVER

CONFIGURATION = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.Spawner.cmd = [{python!r}, "-I", "-S", {server!r}]
c.SimpleLocalProcessSpawner.home_dir_template = {directory!r} + "/home/{{username}}"
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.active_server_limit = 0
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 60}}
"""


class PlainHub:
    """One running JupyterHub without dachub.

    Parameters
    ----------
    account
        Unix account that runs it; one's own where ``None``.
    """

    def __init__(self, account: str | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = secrets.token_hex(16)
        self._directory = Path(tempfile.mkdtemp(prefix="plain-hub-", dir="/tmp"))
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        configuration = self._directory / "jupyterhub_config.py"
        configuration.write_text(
            CONFIGURATION.format(
                port=self.port,
                hub_port=free_port(),
                proxy_api_port=free_port(),
                python=sys.executable,
                proxy=str(Path(sys.executable).with_name("configurable-http-proxy")),
                password=self.password,
                server=str(TINY_SERVER),
                directory=str(self._directory),
            )
        )
        rights: list[str] = []
        if self._account is not None:
            owner = pwd.getpwnam(self._account)
            for path in (self._directory, configuration):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
            rights = ["setpriv", *ids]
        with (self._directory / "hub.log").open("wb") as out:
            self._process = subprocess.Popen(
                [*rights, sys.executable, "-m", "jupyterhub", "-f", str(configuration)],
                cwd=self._directory,
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(self._answers, f"the plain hub answers ({self._directory}/hub.log)", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # ends its proxy and its servers, too
            self._process.wait(60)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def hub_pid(self) -> int:
        """Process id of the hub."""
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/hub/api/", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
