"""How far a start is, in words that are true: read from what the cluster says of the pod."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import Any

Resource = dict[str, Any]
MEASURED_MAX = 20


class Step(StrEnum):
    """Steps of a start, in their order."""

    ASKING = "asking"  # nothing is known of the pod yet
    FULL = "full"  # no machine has room, and none is being added
    NEW_MACHINE = "new-machine"
    VOLUME = "volume"  # the home cannot be attached yet
    VOLUME_HELD = "volume-held"  # it is attached to another machine still
    IMAGE = "image"  # the software is being fetched
    STARTING = "starting"


PROGRESS = {
    Step.ASKING: 10,
    Step.FULL: 15,
    Step.NEW_MACHINE: 20,
    Step.VOLUME: 50,
    Step.VOLUME_HELD: 50,
    Step.IMAGE: 60,
    Step.STARTING: 80,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A step, and since when it goes on.

    Attributes
    ----------
    ordered_at
        When a new machine was asked for; it is kept when the pod has its place.
    placed_at
        When the pod got its place on a machine.
    """

    step: Step
    since: datetime | None = None
    ordered_at: datetime | None = None
    placed_at: datetime | None = None


def stage_of(pod: Resource | None, events: Iterable[Resource]) -> Stage:
    """How far a pod is.

    Parameters
    ----------
    events
        What the cluster says of pods of this name; those of earlier ones do not count.
    """
    if pod is None:
        return Stage(Step.ASKING)
    ours = [
        event for event in events if event["involvedObject"].get("uid") == pod["metadata"]["uid"]
    ]
    at: dict[str, datetime | None] = {}
    for event in sorted(ours, key=_when):
        at.setdefault(event["reason"], _moment(event))
    ordered_at = at.get("TriggeredScaleUp")  # cluster-autoscaler
    if ordered_at is None and any(
        event["reason"] == "Nominated" and "nodeclaim" in event["message"] for event in ours
    ):
        ordered_at = at["Nominated"]  # Karpenter
    placed_at = at.get("Scheduled")
    if placed_at is None and not pod["spec"].get("nodeName"):
        if ordered_at is not None:
            return Stage(Step.NEW_MACHINE, ordered_at, ordered_at)
        if "FailedScheduling" in at or "NotTriggerScaleUp" in at:
            return Stage(Step.FULL, at.get("FailedScheduling"))
        return Stage(Step.ASKING)
    step, since = Step.STARTING, placed_at
    if at.keys() & {"FailedAttachVolume", "FailedMount"} and "Pulling" not in at:
        step, since = Step.VOLUME, at.get("FailedAttachVolume") or at.get("FailedMount")
        if any(event["message"].startswith("Multi-Attach error") for event in ours):
            step = Step.VOLUME_HELD
    if "Pulling" in at and "Started" not in at and "Pulled" not in at:
        step, since = Step.IMAGE, at["Pulling"]
    if "Started" in at:
        step, since = Step.STARTING, at["Started"]
    return Stage(step, since, ordered_at, placed_at)


class NewMachines:
    """How long new machines took, as this hub saw it."""

    def __init__(self, usual_seconds: float) -> None:
        self._usual_seconds = usual_seconds
        self._measured: deque[float] = deque(maxlen=MEASURED_MAX)

    def note(self, stage: Stage) -> None:
        """Learn from a start that got its place on a new machine."""
        if stage.ordered_at is not None and stage.placed_at is not None:
            self._measured.append((stage.placed_at - stage.ordered_at).total_seconds())

    @property
    def usual_seconds(self) -> float:
        """The middle one of the last; what is configured, until there is one."""
        return median(self._measured) if self._measured else self._usual_seconds


def words(stage: Stage, at: datetime, usual_seconds: float) -> str:
    """The stage for the person who waits."""
    seconds = max(0, (at - stage.since).total_seconds()) if stage.since else 0
    match stage.step:
        case Step.ASKING:
            return "Looking for a machine with room for your server"
        case Step.FULL:
            return (
                "All machines are full, and the cluster has not begun to add one. Your server "
                "starts by itself as soon as there is room; a smaller size may find it sooner"
            )
        case Step.NEW_MACHINE if seconds > usual_seconds * 1.5 + 30:
            return (
                f"Starting a new machine: it takes longer than the usual {_spoken(usual_seconds)}"
                f"{_so_far(seconds)}"
            )
        case Step.NEW_MACHINE:
            return f"Starting a new machine, usually {_spoken(usual_seconds)}{_so_far(seconds)}"
        case Step.VOLUME:
            return "Waiting for your home directory: it is still being attached to the machine"
        case Step.VOLUME_HELD:
            return (
                "Waiting for your home directory: it is still attached to the machine of an "
                "earlier server. If that machine was lost, the cluster waits some minutes, usually "
                f"6, before it takes it away ({_spoken(seconds)} so far)"
            )
        case Step.IMAGE:
            return (
                "Fetching the software of this environment: this machine has not run it yet"
                f"{_so_far(seconds)}"
            )
        case Step.STARTING:
            return "JupyterLab is starting"


def why_late(stage: Stage) -> str:
    """Why a start was given up, and what the person can do, as far as the stage tells."""
    match stage.step:
        case Step.FULL:
            return "No machine had room for it, and the cluster added none: choose a smaller size. "
        case Step.NEW_MACHINE:
            return "The new machine that was started for it was not ready in time. "
        case Step.VOLUME:
            return "Its home directory could not be attached to the machine. "
        case Step.IMAGE:
            return "Its software was still being fetched; the next start goes on from there. "
        case _:
            return ""


def _so_far(seconds: float) -> str:
    """What passed; in steps that somebody can read, or have read to them."""
    whole = int(seconds) // 10 * 10
    return f" ({_spoken(whole)} so far)" if whole else ""


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds)} seconds"
    return f"{round(seconds / 60)} minutes"


def _when(event: Resource) -> str:
    return str(event.get("firstTimestamp") or event.get("eventTime") or "")


def _moment(event: Resource) -> datetime | None:
    text = _when(event)
    return datetime.fromisoformat(text) if text else None
