"""The commands as a person types them, against a migrated database of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dachub.cli.main import app


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def data(tmp_path: Path, database_url: str) -> Path:
    config = tmp_path / "dachub.yaml"
    config.write_text(yaml.safe_dump({"database": {"url": database_url}}))
    return tmp_path


@pytest.fixture
def dachub(data: Path) -> Command:
    """Runs ``dachub`` with the given arguments."""
    runner = CliRunner()

    def run(*arguments: str, stdin: str | None = None) -> Outcome:
        result = runner.invoke(app, list(arguments), input=stdin, env={"DACHUB_DATA": str(data)})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run
