"""An independent witness of which servers really ran, and when."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TINY_SERVER = Path(__file__).with_name("tiny_server.py")
SINGLE_USER = "jupyterhub.singleuser"


@dataclass(frozen=True, slots=True)
class Run:
    """The life of one server process, by its own words; times in Unix seconds."""

    session_id: str
    username: str
    pid: int
    listening_at: float
    last_alive_at: float
    ended_at: float | None

    @property
    def is_over(self) -> bool:
        """Whether the process is gone."""
        return self.ended_at is not None or not Path(f"/proc/{self.pid}").exists()


class Witness:
    """Collects what tiny servers say of themselves.

    Parameters
    ----------
    directory
        Must be reachable for every account that servers run under.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records = directory / "witness"
        self.records.mkdir(parents=True)
        self.records.chmod(0o1777)

    def environment(self, name: str = "tiny") -> dict[str, Any]:
        """An environment for ``dachub.yaml`` whose servers are tiny and testify here."""
        interpreter = self.directory / f"python-{name}"
        interpreter.write_text(
            "#!/bin/sh\n"
            "# Python of a users' environment, except that its single-user server is a tiny one.\n"
            f'case "$*" in *{SINGLE_USER}*)\n'
            f"  export DACHUB_WITNESS={self.records}\n"
            f"  exec {sys.executable} -I -S {TINY_SERVER};;\n"
            "esac\n"
            f'exec {sys.executable} "$@"\n'
        )
        interpreter.chmod(0o755)
        return {"name": name, "title": "Tiny", "interpreter": str(interpreter)}

    def runs(self) -> list[Run]:
        """Every server process there was or is."""
        return [run for path in self.records.iterdir() if (run := _read(path)) is not None]


def _read(path: Path) -> Run | None:
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    at = {line["event"]: float(line["at"]) for line in lines}
    if "listening" not in at:
        return None
    return Run(
        session_id=lines[0]["session"],
        username=lines[0]["user"],
        pid=lines[0]["pid"],
        listening_at=at["listening"],
        last_alive_at=max(at.values()),
        ended_at=at.get("ended"),
    )


def moment(seconds: float) -> datetime:
    """Unix seconds as a moment in UTC, cut to the whole second as the ledger does."""
    return datetime.fromtimestamp(int(seconds), UTC)
