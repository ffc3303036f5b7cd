"""Structured logs: Elastic Common Schema JSON in a file, text on a terminal, one event a line.

Every line carries the id of the request it belongs to. Secrets are never logged: values under a
telling key are replaced, whoever logs them.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import ecs_logging
import structlog

from dachub import __version__
from dachub.model.logfiles import DailyFile
from dachub.model.logs import HIDDEN, SECRET_NAME, LogKind, hide_secrets

FILE_BYTES_MAX = 20 * 1024**2
LOG_BYTES_MAX = 6 * FILE_BYTES_MAX

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being answered; runs from hub to service."""

_SECRET_NAME = re.compile(SECRET_NAME, re.IGNORECASE)


def _hide_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    for key, value in event.items():
        if key not in {"_record", "_from_structlog"}:
            event[key] = _hidden(key, value)
    return event


def _hidden(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {inner: _hidden(str(inner), below) for inner, below in value.items()}
    if _SECRET_NAME.search(key) and value is not None:
        return HIDDEN
    return hide_secrets(value) if isinstance(value, str) else value


def _add_request_id(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    if (current := request_id.get()) is not None:
        event.setdefault("request_id", current)
    return event


_KEPT = {"event", "timestamp", "@timestamp", "exception", "exc_info", "stack_info"}
_KNOWN = {
    "request_id": "http.request.id",
    "username": "user.name",
    "group": "group.name",
    "logger": "log.logger",
    "level": "log.level",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "code": "error.code",
}


def _for_ecs(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Put our own fields below ``dachub`` and the known ones where the schema wants them.

    Names with a dot are of the schema already.
    """
    translated: dict[str, Any] = {
        "service": {"name": "dachub", "version": __version__},
        "event.dataset": LogKind.SERVICE.dataset,
    }
    own: dict[str, Any] = {}
    for key, value in event.items():
        if key in _KEPT or "." in key:
            translated[key] = value
        elif key in _KNOWN:
            translated[_KNOWN[key]] = value
        else:
            own[key] = value
    if (milliseconds := own.pop("milliseconds", None)) is not None:
        translated["event.duration"] = round(milliseconds * 10**6)
    if "exception" in translated:
        translated["error.stack_trace"] = translated.pop("exception")
    if own:
        translated["dachub"] = own
    return translated


def log_to_standard_error() -> None:
    """Log as a command does: on standard error, because what it prints is for programs.

    Without this, structlog prints on standard output, and draws the local variables of whatever
    failed: they may hold secrets.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _hide_secrets,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def configure_logging(log_file: Path | None, level: str = "info", days: int | None = None) -> None:
    """Send structlog and the standard library's logs to ``log_file``, and as text to the terminal.

    Without a file and a terminal, as in a pod, standard output gets what the file would.

    Parameters
    ----------
    days
        After which older files of the log are deleted.

    Raises
    ------
    OSError
        If the file cannot be opened for writing.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _add_request_id,
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                drop,
                structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
        )
    )
    ecs = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[drop, _for_ecs, ecs_logging.StructlogFormatter()]
    )
    handlers: list[logging.Handler] = [terminal]
    if log_file is not None:
        file = DailyFile(log_file, file_bytes=FILE_BYTES_MAX, all_bytes=LOG_BYTES_MAX, days=days)
        file.setFormatter(ecs)
        handlers.append(file)
    elif not sys.stdout.isatty():
        handlers = [logging.StreamHandler(sys.stdout)]
        handlers[0].setFormatter(ecs)
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(level.upper())
    # A full disk must not take the service down, nor flood the terminal with tracebacks.
    logging.raiseExceptions = False
    for noisy in ("httpx", "httpcore", "multipart", "sqlalchemy", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
