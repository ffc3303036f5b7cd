"""Starts and ends of servers can be found in the log, by one set of fields."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from dachub.hub import starts
from dachub.hub.clock import now
from dachub.hub.cluster.pods import ImageMissing
from dachub.hub.logs import EcsFormatter
from dachub.hub.sessions import StartFailed
from dachub.model.logs import LOG_FIELDS
from dachub.model.problems import ChoiceRefused
from dachub.model.sessions import EndReason, SessionDescription

SESSION = SessionDescription(
    session_id=UUID("0199b1c2-7a5e-7000-8000-0123456789ab"),
    username="ada",
    group="virgo",
    size="small",
    environment="astronomy:2026-11-20",
    milli_cores=1000,
    memory_bytes=2**31,
    requested_at=now() - timedelta(seconds=90),
)
DESCRIBED = {
    "event.dataset": "dachub.servers",
    "event.kind": "event",
    "user.name": "ada",
    "group.name": "virgo",
    "dachub.session.id": str(SESSION.session_id),
    "dachub.session.size": "small",
    "dachub.session.environment": "astronomy:2026-11-20",
}


class Lines(logging.Handler):
    """What was logged, as the hub writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(EcsFormatter())
        self.all: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(json.loads(self.format(record)))

    @property
    def last(self) -> dict[str, object]:
        return self.all[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    level = starts.log.level
    starts.log.setLevel(logging.INFO)
    starts.log.addHandler(handler)
    yield handler
    starts.log.removeHandler(handler)
    starts.log.setLevel(level)


def test_a_start_is_told_from_the_request_to_the_end(lines: Lines) -> None:
    starts.tell(starts.Action.REQUESTED, SESSION)
    starts.tell(starts.Action.WAITING, SESSION, step="new-machine")
    starts.tell(starts.Action.STARTED, SESSION)
    starts.tell_end(SESSION, EndReason.STOPPED)
    assert [line["event.action"] for line in lines.all] == [
        "server-requested",
        "server-waiting-for-machine",
        "server-started",
        "server-ended",
    ]
    assert all(DESCRIBED.items() <= line.items() for line in lines.all)
    assert lines.all[1]["dachub.session.step"] == "new-machine"
    duration = lines.all[2]["event.duration"]
    assert isinstance(duration, int)
    assert duration >= 90 * 10**9
    assert timedelta(microseconds=duration / 1000) <= now() - SESSION.requested_at
    assert (lines.last["event.reason"], lines.last["event.outcome"]) == ("stopped", "success")


def test_a_failure_has_the_code_of_what_was_met_first(lines: Lines) -> None:
    failure = StartFailed("The image is not to be had. If this goes on, ask somebody.")
    failure.__cause__ = ImageMissing("The image is not to be had.")
    starts.tell_failure("ada", SESSION, failure)
    assert DESCRIBED.items() <= lines.last.items()
    assert lines.last["event.action"] == "server-failed"
    assert lines.last["error.code"] == "image-not-available"
    assert lines.last["event.outcome"] == "failure"


def test_a_refused_choice_is_told_without_a_session(lines: Lines) -> None:
    starts.tell_failure("ada", None, ChoiceRefused("You are no member of coma."))
    assert lines.last["event.action"] == "server-refused"
    assert lines.last["error.code"] == "choice-refused"
    assert lines.last["user.name"] == "ada"


def test_what_nobody_expected_has_a_code_too_and_no_secret(lines: Lines) -> None:
    starts.tell_failure("ada", SESSION, RuntimeError("no route with token=abcdefghijklmnop"))
    assert lines.last["error.code"] == "unexpected"
    assert lines.last["error.message"] == "no route with token=[hidden]"


def test_clocks_that_jump_back_make_no_negative_duration(lines: Lines) -> None:
    later = SESSION.model_copy(update={"requested_at": now() + timedelta(hours=1)})
    starts.tell(starts.Action.STARTED, later)
    assert lines.last["event.duration"] == 0


def test_every_field_of_a_start_can_be_searched(lines: Lines) -> None:
    starts.tell(starts.Action.IMAGE, SESSION, step="image")
    starts.tell(starts.Action.STARTED, SESSION)
    starts.tell_end(SESSION, EndReason.LOST)
    starts.tell_failure("ada", SESSION, RuntimeError("no"))
    assert {name for line in lines.all for name in line} <= LOG_FIELDS.keys()
