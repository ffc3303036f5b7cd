"""What taking a machine out of service promises, and what it leaves to others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dachub.cli.main import app
from dachub.deploy import draining
from dachub.deploy.draining import BECAUSE, UNTIL
from dachub.model.problems import InvalidInput

TOLD = "2026-11-24T17:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400)]
)
def test_lengths_of_time_are_said_with_a_unit(text: str, seconds: int) -> None:
    assert draining.length(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2 h", "1h30m", "99999d", "tomorrow"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="such as 30m"):
        draining.length(text)


def node(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": "w1", "annotations": annotations}}


def test_run_again_it_keeps_what_people_were_told() -> None:
    told = node(**{UNTIL: TOLD, BECAUSE: "new disks"})
    again = draining._promised(told, None, None)
    assert (again.until.isoformat(), again.because) == (TOLD, "new disks")
    moved = draining._promised(told, timedelta(hours=1), None)
    assert (moved.until.isoformat() == TOLD, moved.because) == (False, "new disks")


def pod(name: str, session: str | None) -> dict[str, Any]:
    labels = {} if session is None else {draining.SESSION: session}
    return {"metadata": {"name": name, "labels": labels}}


def test_servers_that_are_no_sessions_are_named() -> None:
    said = draining._progress(
        [pod("jupyter-ada", "a"), pod("jupyter-old", None)],
        [{"session_id": "a", "username": "ada"}],
    )
    assert said.startswith("waiting for 2 servers; 1 person was told; ")
    assert said.endswith("no sessions, stop them in the hub: jupyter-old")


def test_interrupted_it_says_that_what_was_told_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dachub.cli.deploy._cluster", lambda _: None)
    monkeypatch.setattr(draining, "drain", interrupted)
    (tmp_path / "dachub.yaml").write_text("site: {name: DAC}")
    words = ["deploy", "drain", "w1", "--config", str(tmp_path / "dachub.yaml")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 130
    assert "what was told holds. Go on: dachub deploy drain w1. Take it back" in done.output
