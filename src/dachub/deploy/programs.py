"""Runs other programs: helm and kubectl, what builds images, nginx."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from dachub.model.problems import Unavailable

STANDARD_ERROR = 2
WATCH_SECONDS = 2


class ToolMissing(Unavailable):
    """A program that is needed is not installed."""

    code = "tool-missing"


class ToolTooSlow(Unavailable):
    """A program did not end in time."""

    code = "tool-too-slow"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it printed."""

    code: int
    said: str
    complaint: str


def run(
    program: str,
    *arguments: str,
    text: str | None = None,
    seconds: float | None = None,
    watch: Callable[[], None] | None = None,
    shown: bool = False,
) -> Ended:
    """Run a program to its end.

    Parameters
    ----------
    text
        For its standard input, because command lines can be read by others.
    seconds
        How long it may take; as long as it wants where not given.
    watch
        Called every other second meanwhile; what it raises ends the program.
    shown
        What it prints goes to our standard error as it comes, and is not kept.

    Raises
    ------
    ToolMissing, ToolTooSlow
    """
    if shutil.which(program) is None:
        raise ToolMissing(f"The program '{program}' is not installed, and is needed for this.")
    until = None if seconds is None else time.monotonic() + seconds
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [program, *arguments],
        stdin=pipe,
        stdout=STANDARD_ERROR if shown else pipe,
        stderr=None if shown else pipe,
        text=True,
    ) as process:
        try:
            while True:
                try:
                    said, complaint = process.communicate(text, timeout=WATCH_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    text = None  # it has all of it, or goes on getting it
                    if until is not None and time.monotonic() > until:
                        raise ToolTooSlow(
                            f"{program} {' '.join(arguments[:1])} took more than {seconds:.0f} s."
                        ) from None
                    if watch is not None:
                        watch()
        except BaseException:
            process.terminate()  # Helm notes then that it was ended
            raise
    return Ended(process.returncode, said or "", complaint or "")
