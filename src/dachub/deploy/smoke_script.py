"""Runs inside an environment, read from standard input: what it promises must be there, and work.

``python - MODULE ...`` imports the modules, executes a notebook that does so too, and prints what
is installed. ``python - --describe`` prints only that. Knows nothing but what any environment has.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from importlib import metadata

KERNEL_SECONDS = 180


def describe() -> dict[str, object]:
    """What is installed, and a digest of it."""
    packages = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    ordered = dict(sorted(packages.items(), key=lambda item: item[0].lower()))
    python = sys.version.split()[0]
    digest = hashlib.sha256(json.dumps([python, ordered]).encode()).hexdigest()
    return {"python": python, "packages": ordered, "digest": f"sha256:{digest}"}


def execute(modules: list[str]) -> None:
    """Import modules here, and in a notebook that computes something."""
    for name in [*modules, "jupyterhub.singleuser", "dachub"]:
        importlib.import_module(name)
    nbformat = importlib.import_module("nbformat.v4")
    client = importlib.import_module("nbclient")
    lines = [f"import {name}" for name in modules]
    cells = ["\n".join(lines), "sum(range(10))"]
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell(cell) for cell in cells])
    client.NotebookClient(notebook, kernel_name="python3", timeout=KERNEL_SECONDS).execute()
    result = notebook.cells[-1].outputs[0]["data"]["text/plain"]
    if result != "45":
        sys.exit(f"The notebook computed {result} where 45 is right.")


if __name__ == "__main__":
    if sys.argv[1:] != ["--describe"]:
        execute(sys.argv[1:])
    sys.stdout.write(f"\n{json.dumps(describe())}\n")
