"""What people can set, type and call is written down; what is missing fails here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from scripts.pictures import OF_TESTS, PICTURES
from scripts.reference import PAGES

from dachub.cli.main import app
from dachub.config import Settings, section_in

DOCS = Path(__file__).parents[1] / "docs"


def commands(group: Any, words: str = "dachub") -> Iterator[tuple[str, Any]]:
    """Every command there is, as it is typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def settings(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    """Every setting with its description."""
    for name, field in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        inner = section_in(field.annotation)
        if inner is None:
            yield key, field.description
        else:
            yield from settings(inner, key)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as people read it."""
    target = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", DOCS, target],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_every_command_says_what_it_and_its_options_do() -> None:
    silent = [
        f"{typed} {option.name}".rstrip()
        for typed, command in commands(typer.main.get_command(app))
        for option in command.params
        if not command.help or (option.name != "help" and not getattr(option, "help", None))
    ]
    assert silent == []


def test_every_setting_says_what_it_is() -> None:
    assert [key for key, description in settings(Settings) if not description] == []


def test_every_command_and_setting_is_in_the_built_pages(built: Path) -> None:
    shown = unescape(re.sub("<[^>]+>", "", (built / "commands.html").read_text()))
    typed = [words for words, _ in commands(typer.main.get_command(app))]
    assert [words for words in typed if words not in shown] == []
    shown = (built / "configuration.html").read_text()
    names = {key.rsplit(".", 1)[-1] for key, _ in settings(Settings)}
    assert {name for name in names if name not in shown} == set()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_of_the_program_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: make reference"


def test_every_picture_is_shown_and_can_be_taken_anew() -> None:
    kept = {picture.stem for picture in (DOCS / "_static").glob("*.png")}
    assert kept == {*PICTURES, *OF_TESTS}, "run: make pictures"
    text = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    assert [name for name in sorted(kept) if f"(_static/{name}.png)" not in text] == []


def test_every_page_is_reached_from_the_first() -> None:
    first = (DOCS / "index.md").read_text()
    pages = [page.stem for page in DOCS.glob("*.md") if page.stem != "index"]
    assert [page for page in pages if f"\n{page}\n" not in first] == []
