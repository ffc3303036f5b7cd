"""The environment variables of a user's server."""

from __future__ import annotations

from urllib.parse import urlsplit

from dachub.hub.service import API_PATH
from dachub.hub.settings import HubSettings
from dachub.model.people import HubPerson
from dachub.model.sessions import SessionDescription

NAME_MAX = 200
REASON_MAX = 1000
RESCUE_PAGE = "/dachub/rescue"
# Libraries take every core they see; a server has the cores of its size.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
)


def of_session(
    session: SessionDescription, person: HubPerson | None, settings: HubSettings
) -> dict[str, str]:
    """Variables that tell a server whose it is, who pays, and how much it may use."""
    name, email = git_identity(session.username, person, settings.public_url)
    threads = str(max(1, session.milli_cores // 1000))
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
        "DACHUB_API_URL": settings.service_url.rstrip("/") + API_PATH,
        "DACHUB_GROUP": session.group,
        "DACHUB_SESSION": str(session.session_id),
        "DACHUB_CORES": f"{session.milli_cores / 1000:g}",
        "DACHUB_MEMORY_BYTES": str(session.memory_bytes),
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(settings.servers.activity_seconds),
        **dict.fromkeys(THREAD_VARIABLES, threads),
    }


def of_rescue(reason: str, settings: HubSettings) -> dict[str, str]:
    """Variables that make a server a rescue session: it opens on the page about room."""
    limit_seconds = settings.servers.rescue.limit_seconds
    return {
        "DACHUB_RESCUE": _line(reason)[:REASON_MAX],
        "DACHUB_RESCUE_SECONDS": str(limit_seconds),
        "DACHUB_RESCUE_FREE_BYTES": str(settings.servers.rescue.free_bytes_min),
        "DACHUB_RESCUE_FREE_FILES": str(settings.servers.rescue.free_files_min),
        "DACHUB_CONTACT": _line(settings.site.contact),
        "JUPYTERHUB_DEFAULT_URL": RESCUE_PAGE,
    }


def git_identity(username: str, person: HubPerson | None, public_url: str) -> tuple[str, str]:
    """Name and address for git; both usable whatever the identity provider says."""
    name = _plain(person.full_name if person else "") or username
    email = _plain(person.email if person else "").replace(" ", "")
    host = urlsplit(public_url).hostname or "localhost"
    return name, email if "@" in email else f"{username}@{host}"


def _plain(text: str) -> str:
    """One printable line without what git itself strips or an environment cannot hold."""
    line = _line("".join(" " if char in "<>" else char for char in text[: 4 * NAME_MAX]))
    return line[:NAME_MAX].strip(".,:;\"' ")


def _line(text: str) -> str:
    """One printable line that an environment can hold."""
    kept = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(kept.encode("utf-8", "ignore").decode().split())
