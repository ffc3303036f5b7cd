"""The client is light: a kernel imports it beside everything else."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "pydantic",
    "fastapi",
    "sqlalchemy",
    "jupyterhub",
    "structlog",
    "bokeh",
    "httpx",
    "pandas",
    "typer",
)
OURS = ("server", "hub", "accounting", "directory", "infra", "config", "cli", "local")


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_importing_the_client_imports_nothing_of_the_server() -> None:
    loaded = modules_after("from dachub import DAC")
    assert "dachub.client" in loaded
    assert not loaded & set(HEAVY)
    assert not loaded & {f"dachub.{name}" for name in OURS}


def test_using_it_neither() -> None:
    call = "import dachub.client.records, dachub.client.frames, httpx"
    loaded = modules_after(call)
    assert not loaded & (set(HEAVY) - {"httpx", "pydantic"})
    assert not loaded & {f"dachub.{name}" for name in OURS}
