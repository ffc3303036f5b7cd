"""Writes the configuration of an nginx in front, and the pages that it shows by itself."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

from markupsafe import Markup

from dachub.cluster.edge import ACCEPTABLE_USE_PATH, NginxSettings
from dachub.config import ConfigurationError, ListenSettings, Settings
from dachub.deploy import programs
from dachub.hub.settings import SiteSettings
from dachub.infra.templates import templates_of
from dachub.model.problems import DachubError

HTTPS_PORT = 443
CHECK_SECONDS = 60

_NAME = re.compile(r"[A-Za-z0-9.-]+")
_templates = templates_of("dachub.deploy")


class NginxRefused(DachubError):
    """The nginx here finds a fault in the configuration; nothing was changed."""

    code = "nginx-refused"


class NotWritten(DachubError):
    """The directory does not take what is to be written."""

    code = "not-written"


@dataclass(frozen=True, slots=True)
class Excuse:
    """What nginx answers by itself, to people and to programs.

    Attributes
    ----------
    retry_seconds
        After which the page looks again; never if 0.
    noticed
        Whether the operator has something to add.
    """

    status: int
    code: str
    title: str
    detail: str
    retry_seconds: int = 0
    noticed: bool = False


EXCUSES = {
    "away": Excuse(
        503,
        "unavailable",
        "Not available at the moment",
        "The platform does not answer. Usually it is back within minutes. What you saved is kept, "
        "and notebooks that were running go on where they can.",
        retry_seconds=30,
    ),
    "maintenance": Excuse(
        503,
        "maintenance",
        "Closed for maintenance",
        "The platform is being worked on, so nobody can use it for now. What you saved is kept.",
        retry_seconds=30,
        noticed=True,
    ),
    "busy": Excuse(
        429,
        "too-many-attempts",
        "Too many attempts",
        "From your network too many passwords were tried within a minute. Wait a minute, then go "
        "back and try again.",
    ),
    "too-large": Excuse(
        413,
        "too-large",
        "Too large",
        "What you sent is larger than this platform takes at once. Send it in parts: JupyterLab's "
        "file browser does so by itself.",
    ),
}


def written(settings: Settings) -> dict[str, str]:
    """Every file of the configuration, by its path below the directory.

    Raises
    ------
    ConfigurationError
        If dachub.yaml does not say what nginx needs to know.
    """
    nginx, site = settings.nginx, settings.site
    known = _place(settings) | {"nginx": nginx, "upstreams": _upstreams(settings)}
    pages: dict[str, str] = {}
    for name, excuse in EXCUSES.items():
        pages[f"pages/{name}.html"] = _excuse_page(site, excuse)
        pages[f"pages/{name}.json"] = _excuse_json(excuse)
    if nginx.acceptable_use_file is not None:
        pages[ACCEPTABLE_USE_PATH.lstrip("/")] = _rules_page(site, nginx.acceptable_use_file)
    css = files("dachub.deploy").joinpath("static", "pages.css").read_text(encoding="utf-8")
    return pages | {
        "static/pages.css": css,
        "dachub.conf": _templates.get_template("dachub.conf").render(known),
        "nginx.conf": _main(nginx, nginx.directory),
    }


def _main(nginx: NginxSettings, directory: str) -> str:
    return _templates.get_template("nginx.conf").render(nginx=nginx, directory=directory)


def _place(settings: Settings) -> dict[str, object]:
    """What people type, in parts."""
    url = (settings.listen.public_url or "").rstrip("/")
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not _NAME.fullmatch(host):
        raise ConfigurationError(
            "nginx must know what people type in their browser: set listen.public_url to an "
            "address such as https://dac.example.org"
        )
    port = parts.port or HTTPS_PORT
    authority = host if port == HTTPS_PORT else f"{host}:{port}"
    return {"public_url": url, "host": host, "port": port, "authority": authority}


def _upstreams(settings: Settings) -> tuple[str, ...]:
    """Where the platform listens: as named, else on this machine."""
    if settings.nginx.upstreams:
        return settings.nginx.upstreams
    listen = settings.listen
    if not (listen.is_loopback or listen.behind_proxy):
        raise ConfigurationError(
            "The platform does TLS itself as long as listen.behind_proxy is not set: set it to "
            "true, or listen on 127.0.0.1, or name nginx.upstreams."
        )
    return (f"{_reached(listen)}:{listen.port}",)


def _reached(listen: ListenSettings) -> str:
    if listen.host in {"0.0.0.0", "::", ""}:  # noqa: S104  compared, not bound
        return "127.0.0.1"
    return f"[{listen.host}]" if ":" in listen.host else listen.host


# --- Pages ---------------------------------------------------------------------------------------


def _excuse_page(site: SiteSettings, excuse: Excuse) -> str:
    return _templates.get_template("excuse.html").render(
        site=site,
        title=excuse.title,
        detail=excuse.detail,
        retry_seconds=excuse.retry_seconds,
        noticed=excuse.noticed,
    )


def _excuse_json(excuse: Excuse) -> str:
    """A problem as the service's own; ``message`` is what JupyterLab shows."""
    return json.dumps(
        {
            "type": "about:blank",
            "title": excuse.title,
            "status": excuse.status,
            "code": excuse.code,
            "detail": excuse.detail,
            "message": excuse.detail,
        }
    )


def _rules_page(site: SiteSettings, file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"nginx.acceptable_use_file: {file} cannot be read: {error}."
        ) from error
    rules = Markup(text) if file.suffix == ".html" else _paragraphs(text)  # noqa: S704  the site's
    return _templates.get_template("acceptable-use.html").render(
        site=site, title="Conditions of use", retry_seconds=0, rules=rules
    )


def _paragraphs(text: str) -> Markup:
    """Plain text as a part of a page: ``#`` begins a heading, an empty line ends a paragraph."""
    parts: list[Markup] = []
    for are_headings, lines in groupby(text.splitlines(), key=lambda line: line.startswith("#")):
        if are_headings:
            parts += [Markup("<h2>{}</h2>").format(line.lstrip("# ")) for line in lines]
        else:
            blocks = re.split(r"\n\s*\n", "\n".join(lines))
            parts += [
                Markup("<p>{}</p>").format(block.strip()) for block in blocks if block.strip()
            ]
    return Markup("\n").join(parts)


# --- Files ---------------------------------------------------------------------------------------


def put(settings: Settings, directory: Path, *, check: bool = True) -> bool:
    """Write the configuration into ``directory``, unless nginx finds a fault in it first.

    Parameters
    ----------
    check
        Have the nginx of this machine read it; where there is none, nothing is checked.

    Returns
    -------
    bool
        Whether it was checked.

    Raises
    ------
    ConfigurationError
    NginxRefused
        With nginx's own words; the directory is as it was.
    NotWritten
    """
    content = written(settings)
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    try:
        _make_open(directory)
        with _staged(directory, content) as staged:
            if check and program is not None:
                _require_sound(program, settings.nginx, staged)
            for name in content:
                target = directory / name
                _make_open(target.parent)
                (staged / name).replace(target)
    except OSError as error:
        raise NotWritten(f"{directory} cannot be written: {error}.") from error
    return check and program is not None


def _make_open(folder: Path) -> None:
    """Make a folder, if it is not there, that nginx's account may enter whatever our umask is."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


@contextmanager
def _staged(directory: Path, content: Mapping[str, str]) -> Iterator[Path]:
    """``content`` on disk beside where it goes: each file appears whole, or not at all."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as name:
        for path, text in content.items():
            file = Path(name, path)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(0o644)
        yield Path(name)


def _require_sound(program: str, nginx: NginxSettings, staged: Path) -> None:
    trial = staged / "trial.conf"
    trial.write_text(_main(nginx, str(staged)), encoding="utf-8")
    done = programs.run(program, "-t", "-q", "-c", str(trial), seconds=CHECK_SECONDS)
    if done.code != 0:
        said = done.complaint.replace(f"{staged}/", "").strip()
        raise NginxRefused(
            f"nginx refuses the configuration, so nothing was written:\n{said}\n"
            "Where only the certificate is on another machine, write it with --no-check and run "
            "'nginx -t' there."
        )
