"""What a person's pod does before it becomes their server."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from dachub.client import start
from dachub.hub.room import Room, why_full
from dachub.hub.settings import RescueSettings
from dachub.model.probe import NO_ROOM

ENOUGH = {"error": 0, "free_bytes": 10**9, "total_bytes": 10**10, "free_files": 10**6}
LEAST = {"DACHUB_FREE_BYTES_MIN": "1000", "DACHUB_FREE_FILES_MIN": "10"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    for name in ("DACHUB_RESCUE", "DACHUB_SCRATCH", "DACHUB_GROUP_FOLDERS"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.mark.parametrize(
    ("seen", "room"),
    [
        ({}, True),
        ({"free_bytes": 999}, False),
        ({"free_files": 9}, False),
        ({"free_files": None}, True),
        ({"error": errno.EDQUOT}, False),
        ({"error": errno.ENOENT, "free_bytes": None}, True),
    ],
)
def test_room_is_what_the_hub_asks_for(seen: dict[str, int | None], room: bool) -> None:
    assert start.has_room({**ENOUGH, **seen}, LEAST) == room


def test_with_room_nothing_is_in_the_way(tmp_path: Path) -> None:
    assert start.prepare(tmp_path / "words") == 0
    assert not (tmp_path / "words").exists()


def test_without_room_the_last_words_tell_the_hub_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_FREE_BYTES_MIN", str(2**62))
    assert start.prepare(tmp_path / "words") == NO_ROOM
    room = Room.model_validate_json((tmp_path / "words").read_text())
    assert "Your home directory is full" in str(
        why_full(room, RescueSettings(free_bytes_min=2**62))
    )


def test_a_rescue_session_starts_without_room_and_writes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_FREE_BYTES_MIN", str(2**62))
    monkeypatch.setenv("DACHUB_RESCUE", "full")
    monkeypatch.setenv("DACHUB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "scratch" / "runtime"))
    assert start.prepare(tmp_path / "words") == 0
    assert (tmp_path / "scratch" / "runtime").is_dir()


def test_group_folders_are_linked_unless_something_of_that_name_is_there(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_GROUP_FOLDERS", "/groups")
    assert start.prepare(tmp_path / "words") == 0
    assert (home / "groups").readlink() == Path("/groups")
    (home / "groups").unlink()
    (home / "groups").write_text("mine")
    assert start.prepare(tmp_path / "words") == 0
    assert (home / "groups").read_text() == "mine"


def test_what_is_said_is_one_line_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACHUB_FREE_FILES_MIN", str(2**62))
    start.prepare(tmp_path / "words")
    assert len((tmp_path / "words").read_text().splitlines()) == 1
    assert set(json.loads((tmp_path / "words").read_text())) == {
        *("error", "free_bytes", "total_bytes", "free_files"),
    }
