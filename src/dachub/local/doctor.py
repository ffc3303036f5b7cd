"""``dachub doctor``: finds the common faults and says what to do about each."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from dachub import config, migrations
from dachub.config import Settings, openid_client_secret
from dachub.hub.machine import cgroups
from dachub.hub.settings import OpenIDSettings
from dachub.local import checks
from dachub.local.findings import Finding
from dachub.local.layout import Layout
from dachub.local.postgres import EmbeddedPostgres
from dachub.local.status import PlatformStatus, platform_status
from dachub.local.wiring import Endpoints, with_interpreters
from dachub.model.problems import DachubError

EARLIEST_NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(minutes=2)
OUTBOX_OLD = timedelta(minutes=5)
RECONCILED_LONG_AGO = timedelta(minutes=10)


def examine(layout: Layout) -> Iterator[Finding]:
    """Look at everything; later checks are left out where an earlier fault makes them moot."""
    yield checks.check_data_path(layout)
    yield checks.check_data_directory(layout)
    yield checks.check_programs()
    yield checks.check_free_disk(layout)
    yield check_clock(layout)
    if not layout.config.exists():
        yield Finding(
            code="not-set-up",
            severity="warning",
            what=f"There is no platform in {layout.data} yet.",
            advice="Make one with: dachub up",
        )
        return
    yield from check_permissions(layout)
    try:
        settings = with_interpreters(config.load(layout.config))
        openid_client_secret(settings)
    except config.ConfigurationError as error:
        yield Finding(code=error.code, severity="error", what=error.message)
        return
    yield Finding(code="configuration", severity="ok", what=f"{layout.config} is valid.")
    yield checks.check_tls(settings.tls)
    yield from checks.check_interpreters(settings)
    yield checks.check_database(settings)
    if settings.login.openid is not None:
        yield check_provider(settings.login.openid)
    yield from _check_running(layout, settings)


def check_clock(layout: Layout) -> Finding:
    """Whether the clock can be trusted: the ledger counts seconds."""
    now = datetime.now(UTC)
    newest = max(
        (
            datetime.fromtimestamp(path.lstat().st_mtime, UTC)
            for path in (layout.endpoints, layout.config, layout.outbox)
            if path.exists()
        ),
        default=EARLIEST_NOW,
    )
    if now + CLOCK_TOLERANCE < max(newest, EARLIEST_NOW):
        return Finding(
            code="clock-wrong",
            severity="error",
            what=f"The clock says {now:%Y-%m-%d %H:%M} UTC, which cannot be right.",
            why="The platform wrote files at a later time than that.",
            advice="Set the clock and keep it right with NTP: sessions are charged by it.",
        )
    if _clock_is_synchronized() is False:
        return Finding(
            code="clock-not-synchronized",
            severity="warning",
            what="The clock is not kept right by the network.",
            why="Sessions are charged by it, and logins at identity providers depend on it.",
            advice="Turn NTP on: timedatectl set-ntp true",
        )
    return Finding(code="clock", severity="ok", what=f"The clock says {now:%Y-%m-%d %H:%M} UTC.")


def _clock_is_synchronized() -> bool | None:
    """What systemd says; ``None`` where there is none, as in containers."""
    try:
        answer = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() != "no"


def check_permissions(layout: Layout) -> Iterator[Finding]:
    """Whether what must be private is."""
    homes = sorted(layout.homes.iterdir()) if os.access(layout.homes, os.R_OK | os.X_OK) else []
    opened = [home.name for home in homes if home.lstat().st_mode & 0o077]
    if opened:
        yield Finding(
            code="homes-open",
            severity="warning",
            what=f"Homes that other people can look into: {', '.join(opened[:10])}.",
            advice="Ask these people whether they mean it; a home is made with mode 0700.",
        )
    faults = [
        f"{path} (mode {stat.S_IMODE(path.lstat().st_mode):04o}, should be {mode:04o})"
        for path, mode in private_paths(layout)
        if stat.S_IMODE(path.lstat().st_mode) & ~mode
    ]
    if not faults:
        yield Finding(code="permissions", severity="ok", what="What must be private is.")
        return
    yield Finding(
        code="permissions-too-open",
        severity="error",
        what=f"Other accounts could read {len(faults)} files: {'; '.join(faults[:5])}.",
        advice="Correct the modes (dachub up sets those of the directories), then change the "
        "secrets that were readable: delete them in secrets/ and start again.",
    )


def private_paths(layout: Layout) -> Iterator[tuple[Path, int]]:
    """What there is of the private tree, each with the widest mode it may have."""
    yield layout.data, 0o711
    if layout.homes.exists():
        yield layout.homes, 0o711
    for directory in (layout.secrets, layout.hub, layout.logs, layout.run, layout.postgres):
        if directory.exists():
            yield directory, 0o700
    if layout.admin_password.exists():
        yield layout.admin_password, 0o600
    if os.access(layout.secrets, os.R_OK | os.X_OK):
        for file in sorted(layout.secrets.iterdir()):
            yield file, 0o600


def check_limits(groups: cgroups.ControlGroups) -> Finding:
    """What of servers' sizes the system enforces."""
    enforced = set(groups.parents) == set(cgroups.CONTROLLERS)
    return Finding(
        code="limits" if enforced else "limits-not-enforced",
        severity="ok" if enforced else "warning",
        what=" ".join(groups.enforcement()),
        why="" if enforced else "There are no control groups that the hub may use for it.",
        advice="" if enforced else "Run it as root, with the systemd units in deploy/systemd.",
    )


def check_provider(openid: OpenIDSettings) -> Finding:
    """Whether the identity provider tells where its endpoints are."""
    url = f"{openid.issuer.rstrip('/')}/.well-known/openid-configuration"
    advice = (
        "Check login.openid.issuer, the network, and the provider itself. Local accounts work on."
    )
    try:
        answer = httpx.get(url, timeout=openid.request_timeout_seconds, follow_redirects=True)
        answer.raise_for_status()
        document = answer.json()
        issuer = document["issuer"]
        missing = {"authorization_endpoint", "token_endpoint"} - set(document)
    except httpx.HTTPError as error:
        return Finding(
            code="provider-unreachable",
            severity="error",
            what=f"The identity provider does not answer at {url}.",
            why=str(error) or type(error).__name__,
            advice=advice,
        )
    except (ValueError, KeyError, TypeError):
        missing, issuer = {"issuer"}, None
    if missing:
        return Finding(
            code="provider-not-openid",
            severity="error",
            what=f"What answers at {url} is no OpenID provider.",
            why=f"Its document lacks: {', '.join(sorted(missing))}.",
            advice=advice,
        )
    if str(issuer).rstrip("/") != openid.issuer.rstrip("/"):
        return Finding(
            code="provider-issuer-differs",
            severity="error",
            what=f"The identity provider calls itself {str(issuer)[:200]}, not {openid.issuer}.",
            why="Logins are bound to the issuer's exact name.",
            advice="Set login.openid.issuer to the name it gives.",
        )
    return Finding(code="provider", severity="ok", what=f"{openid.issuer} answers.")


def _check_running(layout: Layout, settings: Settings) -> Iterator[Finding]:
    endpoints = Endpoints.read(layout)
    external = config.external_database_url(settings)
    if external is None and endpoints is None:
        yield _not_running(layout)
        return
    url = external or EmbeddedPostgres(layout, endpoints.postgres_port if endpoints else 0).url()
    status = platform_status(layout, settings, url)
    if not status.parts:
        yield checks.check_address(settings.listen)
        yield _not_running(layout)
        return
    for part in status.parts:
        running = part.state == "RUNNING"
        yield Finding(
            code="part" if running else "part-down",
            severity="ok" if running else "error",
            what=f"The part '{part.name}' is {part.state.lower()}.",
            advice="" if running else f"The reason is at the end of {layout.logs / part.name}.log",
        )
    hub_pids = [part.pid for part in status.parts if part.name == "hub"]
    yield check_limits(cgroups.find(hub_pids[0] if hub_pids else None))
    yield from _check_ledger(status, url)


def _not_running(layout: Layout) -> Finding:
    return Finding(
        code="not-running",
        severity="warning",
        what=f"The platform in {layout.data} is not running.",
        advice="Start it with: dachub up",
    )


def _check_ledger(status: PlatformStatus, url: str) -> Iterator[Finding]:
    if not status.database.answers:
        yield Finding(
            code="database-unreachable",
            severity="error",
            what="The database does not answer.",
            advice="Look at the end of logs/postgres.log. Running servers go on; nothing is lost.",
        )
        return
    try:
        revision, head = migrations.current(url), migrations.head()
    except DachubError as error:
        yield Finding(code=error.code, severity="error", what=error.message)
    else:
        if revision != head:
            yield Finding(
                code="migration-needed",
                severity="error",
                what=f"The database is at revision {revision}; this dachub needs {head}.",
                advice="Run: dachub migrate",
            )
    now = datetime.now(UTC)
    outbox = status.outbox
    if outbox is not None and outbox.oldest_at is not None and now - outbox.oldest_at > OUTBOX_OLD:
        yield Finding(
            code="outbox-behind",
            severity="warning",
            what=f"{outbox.waiting} events wait for the ledger, the oldest since "
            f"{outbox.oldest_at:%Y-%m-%d %H:%M} UTC.",
            why="The service does not take them. Nothing is lost, but usage is shown late.",
            advice="Look at the ends of logs/service.log and logs/hub.log.",
        )
    if outbox is not None and outbox.refused:
        yield Finding(
            code="events-refused",
            severity="warning",
            what=f"The ledger refused {outbox.refused} events for good.",
            why="They contradict what it knows, or the hub's clock was wrong.",
            advice="Their codes are in logs/hub.json; compare with: dachub session list",
        )
    if status.enforcement_held:
        yield Finding(
            code="quotas-held",
            severity="warning",
            what=f"Quotas are not enforced: {status.enforcement.removeprefix('held: ')}.",
            why="Nobody is stopped because of figures that may be wrong.",
            advice="Most doubts pass within minutes; docs/quotas.md says which do not.",
        )
    if status.reconciled_at is None or now - status.reconciled_at > RECONCILED_LONG_AGO:
        yield Finding(
            code="not-reconciled",
            severity="warning",
            what="Ledger and running servers were not compared for a while.",
            why="The service cannot ask the hub, or has only just started.",
            advice="Look at the ends of logs/service.log and logs/hub.log.",
        )
