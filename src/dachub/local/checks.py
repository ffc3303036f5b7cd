"""Checks of the machine: before every start, and in ``dachub doctor``."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from dachub.config import ListenSettings, Settings, TLSSettings, external_database_url
from dachub.local import postgres
from dachub.local.findings import Finding
from dachub.local.layout import Layout
from dachub.model.problems import DachubError, Unavailable
from dachub.model.software import Environment
from dachub.model.units import BYTES_PER_GB, spoken_bytes

FREE_BYTES_NEEDED = BYTES_PER_GB // 2
"""With less the platform does not start: a full disk under a database costs more than a refusal."""
FREE_BYTES_WISHED = 2 * BYTES_PER_GB
SOCKET_PATH_MAX = 107
NOBODY = 65534
PROGRAMS_OF_ROOT = {"setpriv": "util-linux", "useradd": "passwd"}


def check_data_path(layout: Layout) -> Finding:
    """Whether the path of the data directory can be used at all."""
    path = layout.data
    if len(os.fsencode(layout.control_socket)) > SOCKET_PATH_MAX:
        return Finding(
            code="data-path-too-long",
            severity="error",
            what=f"The path of the data directory, {path}, is too long.",
            why=f"A socket in it would pass the system's limit of {SOCKET_PATH_MAX} bytes.",
            advice="Choose a shorter one with --data.",
        )
    if not re.fullmatch(r"[\w./+@~:-]+", str(path)):
        return Finding(
            code="data-path-unsuitable",
            severity="error",
            what=f"The path of the data directory, {str(path)!r}, has unsuitable characters.",
            advice="Choose one of letters, digits and the characters . _ - + @ ~ with --data.",
        )
    return Finding(code="data-path", severity="ok", what=f"The data directory is {path}.")


def check_data_directory(layout: Layout) -> Finding:
    """Whether the data directory can be made or is ours, and others can pass to the homes."""
    nearest = next(at for at in [layout.data, *layout.data.parents] if at.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            code="data-directory-unwritable",
            severity="error",
            what=f"The data directory {layout.data} cannot be used.",
            why=f"{nearest} is no directory that this account may write to.",
            advice="Choose another one with --data, or correct the permissions.",
        )
    if layout.data.exists() and layout.data.stat().st_uid != os.geteuid():
        return Finding(
            code="data-directory-not-ours",
            severity="error",
            what=f"The data directory {layout.data} belongs to another account.",
            advice="Run dachub as that account, or choose another directory with --data.",
        )
    closed = _closed_parent(layout.data)
    if os.geteuid() == 0 and closed is not None:
        return Finding(
            code="data-directory-closed",
            severity="error",
            what=f"People could not reach their homes below {layout.data}.",
            why=f"{closed} is closed to other accounts, and each person has one of their own.",
            advice=f"Choose another directory with --data, or run: chmod o+x {closed}",
        )
    shared = _shared_parent(layout.data)
    if os.geteuid() == 0 and shared is not None:
        return Finding(
            code="data-directory-replaceable",
            severity="error",
            what=f"Others could put a directory of their own in the place of {layout.data}.",
            why=f"{shared} is theirs to change, and root would write where they want.",
            advice="Choose a directory with --data of which all parents are root's alone.",
        )
    return Finding(code="data-directory", severity="ok", what="The data directory can be used.")


def _shared_parent(path: Path) -> Path | None:
    """A parent in which others than root may rename what is there; a sticky bit forbids it."""
    for parent in path.absolute().parents:
        if parent.exists():
            found = parent.stat()
            if found.st_uid != 0 or (found.st_mode & 0o1002) == 0o0002:
                return parent
    return None


def _closed_parent(path: Path) -> Path | None:
    parents = [parent for parent in path.absolute().parents if parent.exists()]
    return next((parent for parent in parents if not parent.stat().st_mode & 0o001), None)


def check_programs() -> Finding:
    """Whether the system's programs that we call are there."""
    needed = PROGRAMS_OF_ROOT if os.geteuid() == 0 else {"setpriv": "util-linux"}
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        packages = " ".join(sorted({needed[program] for program in missing}))
        return Finding(
            code="program-missing",
            severity="error",
            what=f"Programs of the system are missing: {', '.join(missing)}.",
            advice=f"Install them: apt-get install {packages}",
        )
    return Finding(code="programs", severity="ok", what="The system's programs are there.")


def check_free_disk(layout: Layout) -> Finding:
    """Whether there is room to work in."""
    nearest = next(at for at in [layout.data, *layout.data.parents] if at.exists())
    free_bytes = shutil.disk_usage(nearest).free
    what = f"{spoken_bytes(free_bytes)} are free where {layout.data} lies."
    if free_bytes >= FREE_BYTES_WISHED:
        return Finding(code="free-disk", severity="ok", what=what)
    short = free_bytes < FREE_BYTES_NEEDED
    needed = spoken_bytes(FREE_BYTES_NEEDED if short else FREE_BYTES_WISHED)
    return Finding(
        code="disk-full" if short else "disk-nearly-full",
        severity="error" if short else "warning",
        what=what,
        why=f"dachub needs at least {needed} for its database and logs"
        + (" to start." if short else " to be comfortable."),
        advice="Free some space, or choose another directory with --data.",
    )


def check_address(listen: ListenSettings) -> Finding:
    """Whether we can listen where the configuration says."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        where = f"{listen.host}:{listen.port}"
        if error.errno == errno.EADDRINUSE:
            return Finding(
                code="port-busy",
                severity="error",
                what=f"Another program already listens on {where}.",
                advice="Stop it, or choose another port with --port or listen.port in dachub.yaml.",
            )
        return Finding(
            code="address-unusable",
            severity="error",
            what=f"Nothing can listen on {where}: {error.strerror or error}.",
            why="Ports below 1024 are for root only." if error.errno == errno.EACCES else "",
            advice="Correct listen.host and listen.port in dachub.yaml (or --host and --port).",
        )
    return Finding(code="address", severity="ok", what=f"{listen.host}:{listen.port} is free.")


def check_tls(tls: TLSSettings) -> Finding:
    """Whether certificate and key can be read and belong together."""
    if tls.certificate is None or tls.key is None:
        return Finding(code="tls", severity="ok", what="No certificate is configured.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tls.certificate, tls.key, password=lambda: ""
        )
    except (OSError, ssl.SSLError) as error:
        return Finding(
            code="tls-unusable",
            severity="error",
            what=f"Certificate {tls.certificate} and key {tls.key} cannot be used: {error}.",
            advice="Give PEM files that belong together, the key without a passphrase.",
        )
    return Finding(code="tls", severity="ok", what="Certificate and key belong together.")


def check_interpreters(settings: Settings) -> list[Finding]:
    """Whether the users' environments can be started, as root by every account."""
    findings = [
        _check_interpreter(name, Path(interpreter))
        if interpreter is not None
        else Finding(
            code="interpreter-missing",
            severity="error",
            what=f"The environment '{name}' names no interpreter.",
            advice="Start dachub with 'make up', which installs one, or set "
            "servers.environments[].interpreter in dachub.yaml, or that of its version.",
        )
        for environment in settings.servers.environments
        for name, interpreter in _interpreters(environment)
    ]
    if settings.servers.own_images.allowed:
        findings.append(
            Finding(
                code="own-images-unusable",
                severity="error",
                what="People are to bring container images (servers.own_images), but servers on "
                "one machine start with interpreters.",
                advice="Remove servers.own_images from dachub.yaml, or deploy to a cluster.",
            )
        )
    return findings


def _interpreters(environment: Environment) -> list[tuple[str, str | None]]:
    """Interpreters by the name of what they run; of versions only those still offered."""
    if not environment.versions:
        return [(environment.name, environment.interpreter)]
    offered = environment.offered(datetime.now(UTC).date())
    return [(f"{environment.name}:{version.name}", version.interpreter) for version in offered]


def _check_interpreter(name: str, interpreter: Path) -> Finding:
    """Start it for real: permissions, missing libraries and broken links all show."""
    as_root = os.geteuid() == 0
    try:
        done = subprocess.run(
            [interpreter, "-c", "import jupyterhub"],
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "HOME": "/nonexistent"},
            user=NOBODY if as_root else None,
            group=NOBODY if as_root else None,
            extra_groups=[] if as_root else None,
            timeout=60,
            check=False,
        )
        reason = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    if not reason:
        return Finding(
            code="interpreter", severity="ok", what=f"The environment '{name}' can be started."
        )
    closed = _closed_parent(interpreter.resolve()) or _closed_parent(interpreter)
    if as_root and closed is not None:
        return Finding(
            code="interpreter-unreadable",
            severity="error",
            what=f"People could not start the environment '{name}' ({interpreter}).",
            why=f"{closed} is closed to other accounts, and each person has one of their own.",
            advice="Use an interpreter that all can read, such as one made with /usr/bin/python3.",
        )
    return Finding(
        code="interpreter-broken",
        severity="error",
        what=f"The environment '{name}' ({interpreter}) cannot be started: {reason}.",
        advice="Run 'make environments' again, or correct servers.environments in dachub.yaml.",
    )


def check_database(settings: Settings) -> Finding:
    """Whether PostgreSQL can be used: the embedded one's programs, or the configured server."""
    try:
        url = external_database_url(settings)
        if url is None:
            return _check_embedded()
        version = postgres.server_version(url)
    except DachubError as error:
        return Finding(
            code="database-unreachable",
            severity="error",
            what=error.message,
            advice="Check database.url, its password, and that PostgreSQL runs.",
        )
    major = version // 10_000
    if major < postgres.OLDEST_MAJOR:
        return Finding(
            code="database-too-old",
            severity="error",
            what=f"The database is PostgreSQL {major}.",
            why=f"dachub needs PostgreSQL {postgres.OLDEST_MAJOR} or newer.",
            advice="Upgrade it, or remove database.url to use the embedded one.",
        )
    return Finding(code="database", severity="ok", what=f"The database is PostgreSQL {major}.")


def _check_embedded() -> Finding:
    programs = postgres.binaries()
    closed = _closed_parent(programs / "postgres")
    if os.geteuid() == 0 and closed is not None:
        return Finding(
            code="postgres-unreadable",
            severity="error",
            what="The embedded PostgreSQL could not be started.",
            why=f"It runs under the account {postgres.ACCOUNT}, to which {closed} is closed.",
            advice="Run 'make up', which installs where all can read, or set database.url.",
        )
    if not os.access(programs / "postgres", os.X_OK):
        raise Unavailable(f"{programs / 'postgres'} is missing or cannot be run.")
    return Finding(code="database", severity="ok", what="The embedded PostgreSQL is there.")


def check_restore(layout: Layout) -> Finding:
    """Whether the data is whole, and not half of a backup."""
    if not layout.restoring.exists():
        return Finding(code="restore-unfinished", severity="ok", what="No restore was interrupted.")
    backup = layout.restoring.read_text(encoding="utf-8", errors="replace").strip()
    return Finding(
        code="restore-unfinished",
        severity="error",
        what=f"The restore of {backup} was interrupted, so that the data is of two moments.",
        advice=f"Finish it: dachub backup restore --replace {backup}",
    )


def before_start(layout: Layout, settings: Settings) -> Iterable[Finding]:
    """All checks that a start depends on, cheapest first."""
    yield check_programs()
    yield check_restore(layout)
    yield check_free_disk(layout)
    yield check_address(settings.listen)
    yield check_tls(settings.tls)
    yield from check_interpreters(settings)
    yield check_database(settings)
