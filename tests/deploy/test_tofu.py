"""What OpenTofu (or Terraform) finds in ``deploy/tofu``, before a cloud that is made up."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOFU = Path(__file__).parents[2] / "deploy" / "tofu"
PROGRAM = shutil.which("tofu") or shutil.which("terraform")
EXAMPLES = sorted(path.name for path in (TOFU / "examples").iterdir())

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="needs OpenTofu: there is no program `tofu` in the PATH"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs it on a copy, with the provider of its registry or mirror."""
    copy = tmp_path_factory.mktemp("tofu") / "tofu"
    shutil.copytree(TOFU, copy)

    def tofu(*words: str) -> subprocess.CompletedProcess[str]:
        assert PROGRAM is not None
        environment = os.environ | {"TF_IN_AUTOMATION": "1"}
        return subprocess.run(
            [PROGRAM, *words], cwd=copy, env=environment, capture_output=True, text=True
        )

    started = tofu("init", "-backend=false", "-input=false", "-no-color")
    if started.returncode != 0:
        pytest.skip("needs the OpenStack provider of OpenTofu, which cannot be had here")
    return tofu


def test_it_is_formatted_and_valid(run: Run) -> None:
    for words in (["fmt", "-check", "-recursive", "-diff"], ["validate", "-no-color"]):
        done = run(*words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_plans_of_every_example_are_as_they_should_be(run: Run, example: str) -> None:
    done = run("test", "-no-color", f"-var-file=examples/{example}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
