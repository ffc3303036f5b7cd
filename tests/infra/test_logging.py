"""Logs tell of errors, and hold no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from dachub.infra.logging import configure_logging, log_to_standard_error

PHRASE = "correct horse battery staple"


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Give other tests their logs back."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    yield
    structlog.configure(**before)
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def fail() -> None:
    phrase = PHRASE
    raise ValueError(f"a phrase of {len(phrase)} letters")


def with_structlog() -> None:
    structlog.get_logger("dachub.test").exception("it failed")


def with_the_standard_library() -> None:
    logging.getLogger("dachub.test").exception("it failed")


@pytest.mark.usefixtures("logs_as_before")
@pytest.mark.parametrize("log", [with_structlog, with_the_standard_library])
def test_an_error_of_the_service_is_logged_without_the_variables_around_it(
    log: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "service.log"
    configure_logging(file)
    try:
        fail()
    except ValueError:
        log()
    for logged in (file.read_text(), capsys.readouterr().err):
        assert "ValueError: a phrase of 28 letters" in logged
        assert PHRASE not in logged
    line = json.loads(file.read_text())
    assert (line.get("log.level") or line["log"]["level"]) == "error"  # not structlog's `exception`


@pytest.mark.usefixtures("logs_as_before")
def test_a_command_logs_on_standard_error_without_the_variables_around_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_standard_error()
    try:
        fail()
    except ValueError:
        with_structlog()
    out, err = capsys.readouterr()
    assert out == ""
    assert "ValueError: a phrase of 28 letters" in err
    assert PHRASE not in err
