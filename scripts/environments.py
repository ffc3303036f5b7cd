"""Set up what dachub runs in, from this checkout alone; needs nothing but Python >= 3.11.

``python3 scripts/environments.py server [dev] [user] [browser] [nginx]`` brings the named parts
up to date and is quick when they are already:

server
    ``.venv``: the platform, from ``requirements/server.txt``.
dev
    Adds to it what tests, checks and documentation need, from ``requirements/dev.txt``.
user
    ``.environments/astronomy``: the users' JupyterLab, from ``requirements/user.txt``, and dachub.
browser
    A system Chromium, for the tests.
nginx
    A system nginx, for the tests; without it theirs are left out.

As root, other accounts must be able to run both environments; where the checkout lies below a
directory closed to them, the environments go below ``/opt/dachub`` and are linked from here.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
SERVER = ROOT / ".venv"
USER = ROOT / ".environments" / "astronomy"
STAMP = "dachub-stamp.json"
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
OLDEST_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STARTED = time.monotonic()


class SetupError(Exception):
    """The set-up cannot go on; the message says what to do."""


def say(text: str) -> None:
    """Print one line of progress with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def run(command: list[str | Path], what: str, **environment: str) -> str:
    """Run a program and return what it printed; its last lines are shown when it fails."""
    settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if SYSTEM_CERTIFICATES.exists():  # a site may have an authority of its own
        settings.setdefault("UV_SYSTEM_CERTS", "true")
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**settings, **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{what}: {command[0]} cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise SetupError(f"{what} failed (exit code {done.returncode}):\n{tail}")
    return done.stdout


# --- Which Python, and where ---------------------------------------------------------------------


def open_to_others(path: Path) -> bool:
    """Whether every account may reach and read ``path``: it and all its parents are open."""
    path = path.resolve()
    return all(at.stat().st_mode & 0o001 for at in [path, *path.parents])


def python_version(python: Path) -> tuple[int, int]:
    """(major, minor) of an interpreter; (0, 0) if it cannot be run."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0, 0
    major, minor = answer.stdout.split()
    return int(major), int(minor)


def choose_python() -> Path:
    """Return the interpreter of both environments; as root one that every account can run.

    Raises
    ------
    SetupError
        If there is none.
    """
    found = [Path(path) for name in ("python3", "python3.13", "python3.12", "python3.11")
             if (path := shutil.which(name))]  # fmt: skip
    candidates = [Path(sys.executable), *found]
    system = [Path("/usr/bin/python3"), Path("/usr/local/bin/python3")]
    candidates = system + candidates if os.geteuid() == 0 else candidates + system
    for python in candidates:
        # A virtual environment's Python would tie ours to it: take the one it was made from.
        if not python.exists() or (python.parent.parent / "pyvenv.cfg").exists():
            continue
        if os.geteuid() == 0 and not open_to_others(python):
            continue
        if python_version(python) >= OLDEST_PYTHON:
            return python
    tried = ", ".join(sorted({str(python) for python in candidates}))
    who = " that every account can run" if os.geteuid() == 0 else ""
    raise SetupError(
        f"No Python >= {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}{who} was found (looked at {tried}). "
        "Install one, for example with: apt-get install python3 python3-venv"
    )


def place(link: Path) -> Path:
    """Return where an environment really lies; makes the link to it when that is not here."""
    if os.geteuid() != 0 or open_to_others(ROOT):
        if link.is_symlink():
            link.unlink()
        return link
    digest = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    target = Path("/opt/dachub") / digest / link.name.lstrip(".")
    if link.resolve() != target:
        say(f"{ROOT} is closed to other accounts: {link.relative_to(ROOT)} goes to {target}")
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


# --- Stamps: what an environment was made from ---------------------------------------------------


def digest_of(*paths: Path) -> str:
    """Digest of files and of all files below directories."""
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def read_stamp(environment: Path) -> dict[str, str]:
    """What the environment was last completed with; empty when it was not."""
    try:
        stamp: dict[str, str] = json.loads((environment / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def write_stamp(environment: Path, stamp: dict[str, str]) -> None:
    """Note what the environment was completed with."""
    (environment / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")


def lock_stamp(python: Path, names: list[str]) -> dict[str, str]:
    """The stamp of an environment made by ``python`` from these locks."""
    version = ".".join(map(str, python_version(python)))
    return {"python": f"{python} {version}"} | {
        name: digest_of(LOCKS / f"{name}.txt") for name in names
    }


# --- The environments ----------------------------------------------------------------------------


def has_module(python: Path, module: str) -> bool:
    """Whether ``python`` can import ``module``."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def apt_install(package: str) -> None:
    """Install a Debian or Ubuntu package; as root only."""
    options = {"DEBIAN_FRONTEND": "noninteractive"}
    say(f"installing the system package {package}")
    install: list[str | Path] = ["apt-get", "install", "-y", "--no-install-recommends", package]
    try:
        run(install, f"apt-get install {package}", **options)
    except SetupError:
        run(["apt-get", "update"], "apt-get update", **options)
        run(install, f"apt-get install {package}", **options)


def make_first_environment(python: Path, environment: Path) -> None:
    """Make an empty environment and put uv into it, verified by its hash."""
    can_apt = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if not has_module(python, "ensurepip, venv") and not has_module(python, "pip") and can_apt:
        apt_install("python3-venv")
    if has_module(python, "ensurepip, venv"):
        run([python, "-m", "venv", "--clear", environment], "Making the environment")
        pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip"]
    elif has_module(python, "pip, venv"):
        run(
            [python, "-m", "venv", "--clear", "--without-pip", environment],
            "Making the environment",
        )
        pip = [python, "-m", "pip", "--python", environment / "bin" / "python"]
    else:
        raise SetupError(
            f"{python} can make no virtual environment: its venv or ensurepip module is missing. "
            "Ask an administrator to run: apt-get install python3-venv"
        )
    say("fetching uv, the installer")
    run(
        [*pip, "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "-r", LOCKS / "bootstrap.txt"],
        "Installing uv",
    )  # fmt: skip


def install_locked(environment: Path, uv: Path, names: list[str]) -> None:
    """Make ``environment`` hold exactly what the locks name."""
    locks = [LOCKS / f"{name}.txt" for name in names]
    python = environment / "bin" / "python"
    run(
        [uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes",
         "--compile-bytecode", *locks],
        f"Installing {', '.join(lock.name for lock in locks)}",
    )  # fmt: skip


def set_up_server(python: Path, *, dev: bool) -> Path:
    """Bring ``.venv`` up to date; returns its uv."""
    environment = place(SERVER)
    uv = environment / "bin" / "uv"
    stamp = read_stamp(environment)
    # Development tools, once there, stay: `make up` after `make test` has nothing to remove.
    names = ["bootstrap", "server"] + (["dev"] if dev or "dev" in stamp else [])
    wanted = lock_stamp(python, names) | {"project": digest_of(ROOT / "pyproject.toml")}
    if stamp == wanted:
        return uv
    if stamp.get("python") != wanted["python"] or stamp.get("bootstrap") != wanted["bootstrap"]:
        say(f"making the server's environment with {python}")
        make_first_environment(python, environment)
    (environment / STAMP).unlink(missing_ok=True)
    say(f"installing {'the server and the development tools' if 'dev' in names else 'the server'}")
    install_locked(environment, uv, names)
    run(
        [uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python", "--no-deps",
         "--no-build-isolation", "--no-index", "--editable", ROOT],
        "Installing dachub",
    )  # fmt: skip
    write_stamp(environment, wanted)
    return uv


def set_up_user(python: Path, uv: Path) -> None:
    """Bring the users' environment up to date, with dachub as it is in this checkout."""
    environment = place(USER)
    stamp = read_stamp(environment)
    wanted = lock_stamp(python, ["user"])
    sources = digest_of(ROOT / "src", ROOT / "pyproject.toml")
    if stamp == wanted | {"sources": sources}:
        return
    if {key: stamp.get(key) for key in wanted} != wanted:
        if stamp.get("python") != wanted["python"]:
            say("making the users' environment")
            run([uv, "venv", "--quiet", "--clear", "--python", python, environment], "uv venv")
        (environment / STAMP).unlink(missing_ok=True)
        say("installing JupyterLab and the astronomy software (the longest step)")
        install_locked(environment, uv, ["user"])
    say("adding dachub to the users' environment")
    with tempfile.TemporaryDirectory() as scratch:
        builder = SERVER.resolve() / "bin" / "python"
        run([builder, "-m", "hatchling", "build", "-t", "wheel", "-d", scratch], "Building dachub")
        wheel = next(Path(scratch).glob("*.whl"))
        run(
            [uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python",
             "--no-deps", "--no-index", "--reinstall", "--compile-bytecode", wheel],
            "Installing dachub",
        )  # fmt: skip
    write_stamp(environment, wanted | {"sources": sources})


def set_up_browser() -> None:
    """Make sure that there is a Chromium for the browser tests."""
    if any(shutil.which(name) for name in BROWSERS):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(
            "The tests drive a real browser and there is none here. "
            "Ask an administrator to run: apt-get install chromium"
        )
    apt_install("chromium")


def set_up_nginx() -> None:
    """Make sure that there is an nginx for the tests that need one, where we may install it."""
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say("no nginx here: its tests are left out (for an administrator: apt-get install nginx)")
        return
    apt_install("nginx")
    if Path("/run/systemd/system").exists():  # the tests start their own
        run(["systemctl", "disable", "--now", "nginx"], "Stopping the nginx just installed")


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other set-up of this checkout is under way."""
    with (LOCKS / "bootstrap.txt").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Bring the parts named on the command line up to date."""
    parser = argparse.ArgumentParser(description="Set up the environments of dachub.")
    parser.add_argument("parts", nargs="+", choices=["server", "dev", "user", "browser", "nginx"])
    parts = parser.parse_args().parts
    os.umask(0o022)  # other accounts run what is installed here
    try:
        python = choose_python()
        with alone():
            uv = set_up_server(python, dev="dev" in parts)
            if "user" in parts:
                set_up_user(python, uv)
            if "browser" in parts:
                set_up_browser()
            if "nginx" in parts:
                set_up_nginx()
    except SetupError as error:
        print(f"Setting up dachub failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Setting up dachub was interrupted; run it again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
