"""What a line of any log of ours holds: kinds of logs, names of fields, and nothing secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class LogKind(StrEnum):
    """Kinds of logs: each has an index and a term of its own."""

    SERVICE = "service"
    HUB = "hub"
    PROXY = "proxy"
    SERVERS = "servers"  # starts and ends of people's servers
    AUDIT = "audit"
    DATABASE = "database"

    @property
    def dataset(self) -> str:
        """As it stands in ``event.dataset``, which is the index's name too."""
        return f"dachub.{self.value}"


@dataclass(frozen=True, slots=True)
class LogField:
    """A field that can be searched: its type in the index, and what it says."""

    type: str
    meaning: str


_WORD, _TEXT, _COUNT, _DATE = "keyword", "text", "long", "date"

LOG_FIELDS = {
    "@timestamp": LogField(_DATE, "when it happened, UTC"),
    "message": LogField(_TEXT, "the line, for people"),
    "ecs.version": LogField(_WORD, "version of the schema"),
    "log.level": LogField(_WORD, "info, warning, error, critical; debug is not shipped"),
    "log.logger": LogField(_WORD, "part of the program"),
    "service.name": LogField(_WORD, "dachub, hub, proxy, postgres"),
    "service.version": LogField(_WORD, "of dachub"),
    "event.dataset": LogField(_WORD, "kind of log"),
    "event.kind": LogField(_WORD, "event, where something happened to a server or was done"),
    "event.id": LogField(_WORD, "number of the entry in the audit log"),
    "event.action": LogField(_WORD, "what happened, such as server-started or login"),
    "event.outcome": LogField(_WORD, "success, failure"),
    "event.reason": LogField(_WORD, "why a server ended"),
    "event.duration": LogField(_COUNT, "of a start or a request, in nanoseconds"),
    "error.code": LogField(_WORD, "stable code of what went wrong"),
    "error.type": LogField(_WORD, "class of an exception"),
    "error.message": LogField(_TEXT, "what went wrong, for people"),
    "error.stack_trace": LogField(_TEXT, "where it went wrong"),
    "user.name": LogField(_WORD, "who did it, or whose server it is"),
    "user.target.name": LogField(_WORD, "to whom it was done"),
    "group.name": LogField(_WORD, "research group"),
    "http.request.id": LogField(_WORD, "one request through hub and service"),
    "http.request.method": LogField(_WORD, "of a request"),
    "http.response.status_code": LogField(_COUNT, "of the answer"),
    "url.path": LogField(_WORD, "what was asked for, without the query"),
    "process.pid": LogField(_COUNT, "process"),
    "container.name": LogField(_WORD, "container that wrote the line"),
    "orchestrator.namespace": LogField(_WORD, "namespace of its pod"),
    "orchestrator.resource.name": LogField(_WORD, "its pod"),
    "dachub.session.id": LogField(_WORD, "session, as in the ledger"),
    "dachub.session.size": LogField(_WORD, "its size"),
    "dachub.session.environment": LogField(_WORD, "its environment, with the version"),
    "dachub.session.step": LogField(_WORD, "what a start waits for"),
}
"""Fields that can be searched, by their names in the Elastic Common Schema where it has one."""

# Group 1 stays, the rest is hidden. Written for Python's and for JavaScript's regular expressions,
# case aside, because the shipper of a cluster hides by the same list once more.
_NAMES = (
    r"(?:token|passw(?:or)?d|secret|authorization|cookie|api[_-]?key|private[_-]?key|_xsrf"
    r"|code[_-]?verifier)"
)
_SCHEMES = r"(?:bearer|token|basic)"
SECRET_PATTERNS = (
    r"((?:cookie)\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\r\n\"'\\]{6,}",
    rf"({_NAMES}\\?[\"']?\s*[=:]\s*\\?[\"'])[^\"'\\]+",
    rf"({_NAMES}\\?[\"']?\s*[=:]\s*(?:{_SCHEMES}\s+)?)(?!{_SCHEMES}\s)[^\s\"'&,;}}\[\]\\]{{6,}}",
    r"(\b(?:code|state)=)[^\s\"'&,;}\[\]\\]{6,}",
    r"(\b(?:bearer|basic|token|password|secret)\s+)[A-Za-z0-9._~+/=-]{16,}",
    r"(/authorizations/(?:token|cookie)/)[^\s\"']+",
    r"(:\/\/[^/:@\s]*:)[^/\s]+(?=@)",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    r"()\b(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}",
    r"()\bAKIA[0-9A-Z]{16}\b",
    r"()\$argon2[a-z]*\$[^\s\"']+",
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[A-Za-z0-9+/=\s\\]+",
)
SECRET_NAME = r"token|passw(or)?d|secret|authorization|cookie|api_?key|private_?key|code_verifier"  # noqa: S105
"""What of fields is hidden whole, by their name."""
HIDDEN = "[hidden]"
_SECRETS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in SECRET_PATTERNS)


def hide_secrets(text: str) -> str:
    """The text without what looks like a password, token or key."""
    for secret in _SECRETS:
        text = secret.sub(rf"\g<1>{HIDDEN}", text)
    return text
