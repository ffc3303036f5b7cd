"""``dachub up``: checks, then starts and watches everything that runs on one machine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx

from dachub import config, migrations
from dachub.config import Settings, external_database_url
from dachub.hub.machine import cgroups
from dachub.infra.files import write_private
from dachub.local import checks, firstrun
from dachub.local.findings import refuse_on_errors
from dachub.local.layout import Layout
from dachub.local.leftovers import end_leftovers
from dachub.local.possession import possessed
from dachub.local.postgres import EmbeddedPostgres
from dachub.local.supervision import STOP_SECONDS, PartState, Supervisor
from dachub.local.wiring import API_PATH, Endpoints, hub_child, service_child, with_interpreters
from dachub.model.problems import Unavailable
from dachub.server.factory import Process
from dachub.server.firstdata import ADMINISTRATOR

READY_SECONDS = {"postgres": 300, "service": 60, "hub": 90}
"""How long a part may take; PostgreSQL may have to recover after a crash."""
FAILED_STARTS_MAX = 3
POLL_SECONDS = 0.1
WATCH_SECONDS = 2
PASSWORD_CHECK_SECONDS = 60
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody pressed Ctrl-C or sent SIGTERM."""


class Platform:
    """One ``dachub up``.

    Parameters
    ----------
    data
        The data directory.
    listen
        Values of the section ``listen`` that win over ``dachub.yaml``.
    say
        Takes each line for the person at the terminal.
    """

    def __init__(
        self, data: Path, listen: Mapping[str, object], say: Callable[[str], None]
    ) -> None:
        self._layout = Layout(data)
        self._listen = listen
        self._say = say
        self._began = time.monotonic()
        self._supervisor = Supervisor(self._layout)

    def run(self) -> None:
        """Start everything, watch until a signal to stop, stop in order.

        Raises
        ------
        StartRefused, ConfigurationError
            Before anything was started.
        Unavailable
            If a part does not come up; everything is stopped again.
        """
        layout = self._layout
        os.umask(0o077)
        refuse_on_errors([checks.check_data_path(layout), checks.check_data_directory(layout)])
        layout.create()
        with possessed(layout), _stop_on_signals():
            try:
                if end_leftovers(layout, self._supervisor):
                    self._progress("ended what an earlier start had left behind")
                settings = self._settings()
                refuse_on_errors(list(checks.before_start(layout, settings)))
                layout.create_secrets()
                self._progress("checked the machine and the configuration")
                endpoints = Endpoints.choose(layout, settings)
                self._run(settings, endpoints)
            except StopRequested:
                self._progress("stopped")

    def _settings(self) -> Settings:
        if not self._layout.config.exists():
            write_private(self._layout.config, config.commented_text())
        return with_interpreters(config.load(self._layout.config, {"listen": self._listen}))

    def _run(self, settings: Settings, endpoints: Endpoints) -> None:
        supervisor, layout = self._supervisor, self._layout
        url = external_database_url(settings)
        embedded = EmbeddedPostgres(layout, endpoints.postgres_port) if url is None else None
        children = {}
        if embedded is not None:
            if not embedded.is_prepared:
                self._progress("making the database")
            embedded.prepare()
            children["postgres"] = embedded.child(supervisor.record_path("postgres"))
            url = embedded.url()
        assert url is not None  # noqa: S101  one of the two it is
        children["service"] = service_child(layout, settings, endpoints, url, supervisor)
        children["hub"] = hub_child(layout, settings, endpoints, supervisor)
        supervisor.write(children)
        process = supervisor.start()
        try:
            if embedded is not None:
                self._supervisor.start_part("postgres")
                self._await("postgres", embedded.is_ready)
                embedded.provide_database()
            migrations.upgrade(url)
            password = asyncio.run(self._first_data(settings, url))
            self._progress("database is ready")
            # Together: each goes on without the other, and both spend seconds on imports.
            self._supervisor.start_part("service")
            self._supervisor.start_part("hub")
            self._await("service", lambda: _answers(f"{endpoints.service_url}{API_PATH}/health"))
            front = _reachable(endpoints.bind_url)
            self._await(
                "hub",
                lambda: (
                    _answers(f"{endpoints.hub_api_url}/")
                    and _answers(f"{front}/hub/api/")
                    and _answers(f"{front}{API_PATH}/health")
                ),
            )
            self._banner(settings, endpoints, password)
            self._watch(process, settings, url)
        finally:
            self._stop(process, settings)

    async def _first_data(self, settings: Settings, url: str) -> str | None:
        process = Process.connect(settings, url)
        try:
            await firstrun.forget_changed_password(self._layout, process)
            return await firstrun.seed(self._layout, process)
        finally:
            await process.close()

    # --- Starting ------------------------------------------------------------------------------

    def _await(self, part: str, is_ready: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_SECONDS[part]
        failed_starts: set[int] = set()
        while not is_ready():
            state = self._state(part)
            if state.state in {"BACKOFF", "FATAL", "EXITED"}:
                failed_starts.add(state.started_at)
            if len(failed_starts) >= FAILED_STARTS_MAX or time.monotonic() > until:
                raise Unavailable(self._why_not(part))
            time.sleep(POLL_SECONDS)
        self._progress(f"{part} is ready")

    def _state(self, part: str) -> PartState:
        return next(state for state in self._supervisor.states() if state.name == part)

    def _why_not(self, part: str) -> str:
        log = self._layout.logs / f"{part}.log"
        try:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        except OSError:
            tail = []
        lines = "".join(f"\n  {line[:300]}" for line in tail)
        return f"The part '{part}' does not come up. The end of {log}:{lines or ' it is empty.'}"

    # --- Running -------------------------------------------------------------------------------

    def _watch(self, process: subprocess.Popen[bytes], settings: Settings, url: str) -> None:
        """Report what dies and comes back, until a signal ends it (:class:`StopRequested`)."""
        known = {state.name: state for state in self._supervisor.states()}
        password_checked_at = time.monotonic()
        while process.poll() is None:
            time.sleep(WATCH_SECONDS)
            try:
                states = self._supervisor.states()
            except Unavailable:
                continue  # ended just now: seen by the loop's condition
            for state in states:
                before = known.get(state.name)
                if before and (before.state, before.pid) != (state.state, state.pid):
                    self._progress(f"{state.name}: {state.state.lower()}, {state.description}")
                known[state.name] = state
            if (
                self._layout.admin_password.exists()
                and time.monotonic() - password_checked_at > PASSWORD_CHECK_SECONDS
            ):
                password_checked_at = time.monotonic()
                self._forget_password(settings, url)
        raise Unavailable("supervisord ended unexpectedly; everything was stopped. Start it again.")

    def _forget_password(self, settings: Settings, url: str) -> None:
        async def forget() -> None:
            process = Process.connect(settings, url)
            try:
                await firstrun.forget_changed_password(self._layout, process)
            finally:
                await process.close()

        try:
            asyncio.run(forget())
        except Exception as error:  # noqa: BLE001  the database may be restarting: next time
            self._progress(f"could not look whether the first password was changed: {error}")

    # --- Stopping ------------------------------------------------------------------------------

    def _stop(self, process: subprocess.Popen[bytes], settings: Settings) -> None:
        """Let supervisord stop the parts, in the opposite order of their start."""
        for sign in STOP_SIGNALS:
            signal.signal(sign, signal.SIG_IGN)  # stopping has begun: it is bounded in time
        if process.poll() is None:
            self._progress("stopping: hub, service, postgres")
            process.terminate()
            try:
                process.wait(sum(STOP_SECONDS.values()) + 5)
            except subprocess.TimeoutExpired:
                self._progress("a part does not stop by itself and is being ended")
        end_leftovers(self._layout, self._supervisor)
        process.wait()
        if settings.servers.survive_hub_restart:
            self._progress("users' servers go on; the next start finds them again")

    # --- Talking -------------------------------------------------------------------------------

    def _progress(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {text}")

    def _banner(self, settings: Settings, endpoints: Endpoints, password: str | None) -> None:
        lines = ["", f"dachub is ready at {endpoints.public_url}", ""]
        if password is not None:
            lines += [
                f"  First administrator: {ADMINISTRATOR}",
                f"  Password (shown this once): {password}",
                f"  It is kept in {self._layout.admin_password} until you change it.",
            ]
        elif self._layout.admin_password.exists():
            lines += [
                f"  First administrator: {ADMINISTRATOR}; the first password is still in",
                f"  {self._layout.admin_password}: change it in the portal.",
            ]
        if os.geteuid() != 0:
            lines += [
                "  All people's servers run under this one account: people are NOT protected from",
                "  each other and can read the platform's data. Beyond a trial, run it as root.",
            ]
        if set(cgroups.find().parents) != set(cgroups.CONTROLLERS):
            lines += ["  Sizes are not fully enforced on this machine: see `dachub doctor`."]
        if settings.listen.is_loopback and not settings.listen.behind_proxy:
            lines += ["  Only programs on this machine can connect."]
        lines += [f"  Data: {self._layout.data}   Stop: Ctrl-C", ""]
        self._say("\n".join(lines))


def _reachable(bind_url: str) -> str:
    """``bind_url`` as we can call it ourselves."""
    return bind_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _answers(url: str) -> bool:
    """Whether somebody answers there with 200."""
    try:
        # The certificate is for the public name, not for loopback.
        return httpx.get(url, timeout=5, verify=False).status_code == httpx.codes.OK  # noqa: S501
    except httpx.HTTPError:
        return False


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise StopRequested

    before = {sign: signal.getsignal(sign) for sign in STOP_SIGNALS}
    try:
        for sign, handler in before.items():
            if handler is not signal.SIG_IGN:  # nohup
                signal.signal(sign, stop)
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
