"""People who start and end short sessions, whatever is being killed around them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
from tests.harness.visitor import Visitor
from tests.harness.waiting import PAUSE_SECONDS
from tests.harness.witness import Witness

# How a session ends: the person stops it, it crashes, or the machine takes it.
ENDINGS = ("stop", "stop", "crash", "kill")
LIFE_SECONDS = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class ServerKilled:
    """A server that we ended with SIGKILL, and so could not testify; Unix seconds."""

    pid: int
    at: float


class Crowd:
    """Everybody in a thread of their own, one session after the other, until told to finish.

    Parameters
    ----------
    choice
        What everybody fills into the start form.
    """

    def __init__(
        self,
        people: Sequence[Visitor],
        witness: Witness,
        choice: Mapping[str, str],
        seed: int,
    ) -> None:
        self._witness = witness
        self._choice = dict(choice)
        self._enough = threading.Event()
        self.killed: list[ServerKilled] = []
        self.surprises: list[str] = []
        self._threads = [
            threading.Thread(target=self._live, args=(one, random.Random(seed + number)))
            for number, one in enumerate(people)
        ]

    def start(self) -> None:
        """Let everybody begin."""
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> None:
        """Start nothing new, and wait until everybody has ended what they had."""
        self._enough.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
            if thread.is_alive():
                raise AssertionError("somebody could not end their last server")

    def _live(self, person: Visitor, chance: random.Random) -> None:
        while True:
            # Connections break and answers are errors while parts are dead: try again.
            with contextlib.suppress(httpx.HTTPError):
                server = person.servers().get("")
                if server is None and self._enough.is_set():
                    return
                if server is None:
                    self._note(person.start(**self._choice))
                elif server["ready"]:
                    time.sleep(chance.uniform(*LIFE_SECONDS))
                    self._end(person, chance.choice(ENDINGS))
            time.sleep(PAUSE_SECONDS)

    def _end(self, person: Visitor, how: str) -> None:
        mine = [
            run
            for run in self._witness.runs()
            if run.username == person.username and not run.is_over
        ]
        if how == "stop" or len(mine) != 1:
            self._note(person.stop())
        elif how == "crash":
            person.http.get(f"/user/{person.username}/exit")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(mine[0].pid, signal.SIGKILL)
                self.killed.append(ServerKilled(mine[0].pid, time.time()))

    def _note(self, answer: httpx.Response) -> None:
        """Keep answers that nobody should get, whatever was killed."""
        if answer.status_code in {401, 403}:
            self.surprises.append(f"{answer.request.method} {answer.status_code}: {answer.text}")
