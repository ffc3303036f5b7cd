"""Structured logs of the hub: Elastic Common Schema, with request ids, no secrets."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from dachub.model.logfiles import DailyFile
from dachub.model.logs import LogKind, hide_secrets

request_id: ContextVar[str | None] = ContextVar("dachub_request_id", default=None)

VERSION = version("dachub")
FILE_BYTES_MAX = 50 * 1024**2
LOG_BYTES_MAX = 6 * FILE_BYTES_MAX


def begin_request() -> str:
    """Give what follows in this task a request id, unless it has one; the service logs the same."""
    current = request_id.get()
    if current is None:
        current = uuid4().hex
        request_id.set(current)
    return current


def end_request() -> None:
    """Forget the request id: a task that never ends calls this between its rounds."""
    request_id.set(None)


class EcsFormatter(logging.Formatter):
    """Formats a record as one line of ECS JSON; ``extra={"ecs": {...}}`` gives more fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry: dict[str, object] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "log.level": record.levelname.lower(),
            "message": hide_secrets(record.getMessage()),
            "ecs.version": "8.11",
            "service.name": "hub",
            "service.version": VERSION,
            "event.dataset": LogKind.HUB.dataset,
            "log.logger": record.name,
            "process.pid": record.process,
        }
        if (current := request_id.get()) is not None:
            entry["http.request.id"] = current
        if record.exc_info and record.exc_info[1] is not None:
            entry["error.type"] = type(record.exc_info[1]).__name__
            entry["error.stack_trace"] = hide_secrets(self.formatException(record.exc_info))
        for name, value in getattr(record, "ecs", {}).items():
            entry[name] = hide_secrets(value) if isinstance(value, str) else value
        return json.dumps(entry, ensure_ascii=False)


class EcsFile(DailyFile):
    """A log file of ECS lines."""

    def __init__(self, path: Path, days: int | None) -> None:
        super().__init__(path, file_bytes=FILE_BYTES_MAX, all_bytes=LOG_BYTES_MAX, days=days)
        self.setFormatter(EcsFormatter())

    def __deepcopy__(self, memo: object) -> EcsFile:
        """The same file: traitlets copies what it finds in a configuration."""
        return self
