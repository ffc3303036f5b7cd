"""``python -m benchmarks [NAME...] [--markdown FILE]``: measure and print; stops by itself."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.report import Row, markdown

NAMES = (
    "client_import", "events", "queue", "ledger", "spawn", "portal_page", "storm", "sampler",
    "replicas", "front",
)  # fmt: skip

ON_A_CLUSTER = ("hub_start", "pod_spawn", "pod_storm", "elasticity")
"""Run only when named."""


def main() -> int:
    """Run the benchmarks that are named, all without a name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, *ON_A_CLUSTER, []], metavar="NAME",
                        default=[],
                        help=f"any of {', '.join(NAMES)}; all of these when none is given; "
                        f"{', '.join(ON_A_CLUSTER)} (on a cluster)")  # fmt: skip
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("--segments", type=int, default=200_000,
                        help="of the benchmark ledger; in earnest 10000000: 20 min, 8 GB in /tmp"
                        )  # fmt: skip
    arguments = parser.parse_args()
    sizes = {"ledger": {"segments": arguments.segments}}
    rows: list[Row] = []
    for name in arguments.names or NAMES:
        start = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        run: Callable[..., list[Row]] = import_module(f"benchmarks.{name}").run
        try:
            rows += run(**sizes.get(name, {}))
        except pytest.skip.Exception as lacking:  # of what is shared with the tests
            sys.exit(f"not run: {lacking}")
        print(f"{time.monotonic() - start:.0f} s", flush=True)
    table = markdown(rows)
    print(f"\n{table}")
    if arguments.markdown:
        arguments.markdown.write_text(f"{table}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
