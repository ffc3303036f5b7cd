"""The page and what its script asks for, in the person's own server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web  # type: ignore[attr-defined]
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule

from dachub.client.rescue import MARK
from dachub.client.rescue.removal import NotRemoved, remove
from dachub.client.rescue.survey import Found, Survey
from dachub.model.units import spoken_bytes

Method = TypeVar("Method", bound=Callable[..., Any])

HERE = Path(__file__).parent
PAGE = "dachub/rescue"
WORKSPACE = "rescue"
TERMINAL = "terminal:rescue"
ASSETS = ("rescue.css", "rescue.js")
WRITTEN_BYTES = 64 * 1024
CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)


@dataclass
class Rescue:
    """One rescue session, as its environment describes it."""

    reason: str
    ends_at: float
    free_bytes_min: int
    free_files_min: int
    contact: str
    home: Path
    group: str
    group_folder: Path | None
    seen: bool = False
    surveys: dict[str, Survey] = field(default_factory=dict)

    @classmethod
    def of_environment(cls) -> Rescue:
        """What the hub said."""
        told = os.environ
        folder = Path(told.get("DACHUB_GROUP_FOLDERS", "/nonexistent"), told["DACHUB_GROUP"])
        return cls(
            reason=told[MARK],
            ends_at=time.monotonic() + float(told.get("DACHUB_RESCUE_SECONDS", "3600")),
            free_bytes_min=int(told.get("DACHUB_RESCUE_FREE_BYTES", "0")),
            free_files_min=int(told.get("DACHUB_RESCUE_FREE_FILES", "0")),
            contact=told.get("DACHUB_CONTACT", "your administrator"),
            home=Path.home(),
            group=told["DACHUB_GROUP"],
            group_folder=folder.resolve() if folder.is_dir() else None,
        )

    def survey(self) -> None:
        """Look at everything anew."""
        roots = {"home": self.home}
        if self.group_folder is not None:
            roots["group"] = self.group_folder
        for survey in self.surveys.values():
            survey.end()
        self.surveys = {area: Survey(root) for area, root in roots.items()}
        for survey in self.surveys.values():
            survey.begin()

    def report(self) -> dict[str, Any]:
        """All that the page shows; blocks."""
        room = os.statvfs(self.home)
        free_bytes = room.f_bavail * room.f_frsize
        free_files = room.f_favail if room.f_files else None
        enough_files = free_files is None or free_files >= self.free_files_min
        return {
            "free": spoken_bytes(free_bytes),
            "total": spoken_bytes(room.f_blocks * room.f_frsize),
            "free_files": free_files,
            "has_room": free_bytes >= self.free_bytes_min and enough_files and self._can_write(),
            "ends_in_seconds": max(0, round(self.ends_at - time.monotonic())),
            "finished": all(survey.finished for survey in self.surveys.values()),
            "areas": [self._area(area, survey) for area, survey in self.surveys.items()],
        }

    def _area(self, area: str, survey: Survey) -> dict[str, Any]:
        def shown(found: Found) -> dict[str, Any]:
            return {
                "path": found.path,
                "size": spoken_bytes(found.allocated_bytes, aligned=True),
                "files": found.files,
                "command": f"rm -r -- {shlex.quote(str(survey.root / found.path))}",
            }

        return {
            "area": area,
            "title": "Your home" if area == "home" else f"The folder of {self.group}",
            "used": spoken_bytes(survey.allocated_bytes),
            "files": survey.files,
            "unreadable": survey.unreadable,
            "reclaimable": [shown(found) for found in survey.reclaimable],
            "folders": [shown(found) for found in survey.folders],
            "largest": [shown(found) for found in survey.largest],
        }

    def _can_write(self) -> bool:
        """Quotas show only when they bite."""
        try:
            with tempfile.TemporaryFile(dir=self.home, buffering=0) as file:
                return file.write(bytes(WRITTEN_BYTES)) == WRITTEN_BYTES
        except OSError:
            return False


def signed_in(method: Method) -> Method:
    """Only for whom the hub lets in."""
    return cast("Method", web.authenticated(method))


class _PageHandler(JupyterHandler):  # type: ignore[misc]
    def initialize(self, rescue: Rescue) -> None:
        self.rescue = rescue

    @property
    def content_security_policy(self) -> str:
        return CONTENT_SECURITY

    @signed_in
    def get(self) -> None:
        self.rescue.seen = True
        host = os.environ.get("JUPYTERHUB_HOST", "")
        prefix = os.environ.get("JUPYTERHUB_BASE_URL", "/")
        self.set_header("Cache-Control", "no-store")
        self.finish(
            _templates.get_template("page.html").render(
                rescue=self.rescue,
                xsrf=self.xsrf_token.decode(),
                here=url_path_join(self.base_url, PAGE),
                lab=url_path_join(self.base_url, "lab"),
                terminal=url_path_join(self.base_url, "lab/workspaces", WORKSPACE),
                hub_home=host + url_path_join(prefix, "hub/home"),
                commands=COMMANDS,
            )
        )


class _Api(APIHandler):  # type: ignore[misc]
    def initialize(self, rescue: Rescue) -> None:
        self.rescue = rescue


class _ReportHandler(_Api):
    @signed_in
    async def get(self) -> None:
        self.finish(await asyncio.to_thread(self.rescue.report))

    @signed_in
    async def post(self) -> None:
        """Look anew."""
        self.rescue.survey()
        self.finish(await asyncio.to_thread(self.rescue.report))


class _RemoveHandler(_Api):
    @signed_in
    async def post(self) -> None:
        asked = self.get_json_body() or {}
        survey = self.rescue.surveys.get(str(asked.get("area")))
        path = asked.get("path")
        if survey is None or not isinstance(path, str):
            raise web.HTTPError(400, "What is to be deleted is an area and a path.")
        try:
            await asyncio.to_thread(remove, survey.root, path)
        except NotRemoved as error:
            self.set_status(409)
            self.finish({"message": str(error)})
            return
        self.log.info("Deleted %r in %s", path, survey.root)
        self.rescue.survey()
        self.finish(await asyncio.to_thread(self.rescue.report))


class _EndHandler(_Api):
    @signed_in
    def post(self) -> None:
        self.set_status(202)
        self.finish({})
        self.serverapp.stop()


class _ToPageHandler(JupyterHandler):  # type: ignore[misc]
    def initialize(self, rescue: Rescue) -> None:
        self.rescue = rescue

    @signed_in
    def get(self) -> None:
        self.redirect(url_path_join(self.base_url, PAGE))


class _UntilSeen(Matcher):  # type: ignore[misc]
    """Leads who comes by a bookmark of JupyterLab to the page, once."""

    def __init__(self, rescue: Rescue, base_url: str) -> None:
        self._rescue = rescue
        lab = re.escape(url_path_join(base_url, "lab"))
        self._path = re.compile(rf"{lab}(/(tree|workspaces|doc)(/.*)?)?/?$")

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if not self._rescue.seen and self._path.match(request.path) else None


COMMANDS = (
    ("The biggest folders", "du -xh --max-depth=2 ~ | sort -h | tail -n 20"),
    ("The largest files", "find ~ -xdev -type f -size +100M -printf '%s %p\\n' | sort -n"),
    ("Folders with the most files", "du -x --inodes --max-depth=2 ~ | sort -n | tail -n 20"),
    ("Empty the trash", "rm -rf ~/.local/share/Trash"),
    ("Remove what programs can make again", "rm -rf ~/.cache"),
    ("Remove old checkpoints of notebooks",
     "find ~ -xdev -type d -name .ipynb_checkpoints -prune -exec rm -rf {} +"),
)  # fmt: skip


def add_handlers(serverapp: Any) -> None:
    """Serve the page, and make JupyterLab fit for a home in which nothing can be written."""
    rescue = Rescue.of_environment()
    rescue.survey()
    # What goes to the trash goes on taking room.
    serverapp.contents_manager.delete_to_trash = False
    _prepare_terminal()
    base_url = serverapp.web_app.settings["base_url"]
    here: Callable[..., str] = lambda *parts: url_path_join(base_url, PAGE, *parts)  # noqa: E731
    told = {"rescue": rescue}
    serverapp.web_app.add_handlers(
        ".*$",
        [
            (here(), _PageHandler, told),
            (here("report"), _ReportHandler, told),
            (here("remove"), _RemoveHandler, told),
            (here("end"), _EndHandler, told),
            (here(f"static/({'|'.join(map(re.escape, ASSETS))})"), web.StaticFileHandler,
             {"path": str(HERE)}),
            Rule(_UntilSeen(rescue, base_url), _ToPageHandler, told),
        ],
    )  # fmt: skip


def _prepare_terminal() -> None:
    """Lay out a JupyterLab that opens with a terminal, where there is a JupyterLab."""
    try:
        from jupyterlab.commands import get_workspaces_dir
        from jupyterlab_server.workspaces_handler import WorkspacesManager
    except ImportError:
        return
    dock = {"type": "tab-area", "currentIndex": 0, "widgets": [TERMINAL]}
    layout = {
        "data": {
            "layout-restorer:data": {
                "main": {"dock": dock, "mode": "multiple-document", "current": TERMINAL}
            },
            TERMINAL: {"data": {"name": TERMINAL.partition(":")[2]}},
        },
        "metadata": {"id": WORKSPACE},
    }
    WorkspacesManager(get_workspaces_dir()).save(WORKSPACE, json.dumps(layout))
