"""What the person who waits is told: only what the cluster said itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dachub.hub.cluster.progress import NewMachines, Stage, Step, stage_of, why_late, words

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def pod(node: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": "jupyter-ada", "uid": "1"}, "spec": {"nodeName": node}}


def event(reason: str, second: float, message: str = "", uid: str = "1") -> dict[str, Any]:
    at = (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
    return {
        "reason": reason,
        "message": message,
        "involvedObject": {"name": "jupyter-ada", "uid": uid},
        "firstTimestamp": at,
        "lastTimestamp": at,
    }


NOMINATED = event("Nominated", 2, "Pod should schedule on: nodeclaim/users-x7k2p")
NOMINATED_OLD = event("Nominated", 2, "Pod should schedule on: node/users-1")
UNSCHEDULABLE = event("FailedScheduling", 1, "0/3 nodes are available")
HELD = 'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node'
ORDERED = event("TriggeredScaleUp", 2, "pod triggered scale-up: [{users 2->3 (max: 9)}]")


@pytest.mark.parametrize(
    ("events", "step"),
    [
        ([], Step.ASKING),
        ([UNSCHEDULABLE], Step.FULL),
        ([UNSCHEDULABLE, event("NotTriggerScaleUp", 2)], Step.FULL),
        ([UNSCHEDULABLE, ORDERED], Step.NEW_MACHINE),
        ([UNSCHEDULABLE, NOMINATED], Step.NEW_MACHINE),
        ([UNSCHEDULABLE, NOMINATED_OLD], Step.FULL),
        ([ORDERED, event("Scheduled", 200)], Step.STARTING),
        ([event("Scheduled", 3), event("FailedAttachVolume", 4)], Step.VOLUME),
        ([event("Scheduled", 3), event("FailedAttachVolume", 4, HELD)], Step.VOLUME_HELD),
        ([event("Scheduled", 3), event("Pulling", 4)], Step.IMAGE),
        ([event("Scheduled", 3), event("Pulling", 4), event("Pulled", 9)], Step.STARTING),
        ([event("Scheduled", 3), event("Started", 4)], Step.STARTING),
    ],
)
def test_a_step_is_read_from_what_the_cluster_said(
    events: list[dict[str, Any]], step: Step
) -> None:
    assert stage_of(pod(), events).step is step


def test_what_was_said_of_an_earlier_pod_of_the_name_does_not_count() -> None:
    earlier = event("TriggeredScaleUp", 2, uid="0")
    assert stage_of(pod(), [earlier]).step is Step.ASKING


def test_without_a_pod_nothing_is_claimed() -> None:
    assert stage_of(None, [ORDERED]) == Stage(Step.ASKING)


def test_a_new_machine_is_told_with_what_is_usual_and_what_passed() -> None:
    stage = stage_of(pod(), [UNSCHEDULABLE, ORDERED])
    text = words(stage, START + timedelta(seconds=62), usual_seconds=240)
    assert text == "Starting a new machine, usually 4 minutes (60 seconds so far)"


def test_what_passed_is_told_in_steps_that_can_be_read() -> None:
    stage = stage_of(pod(), [ORDERED])
    told = {words(stage, START + timedelta(seconds=at), 240) for at in range(2, 22)}
    assert told == {
        "Starting a new machine, usually 4 minutes",
        "Starting a new machine, usually 4 minutes (10 seconds so far)",
    }


def test_a_new_machine_that_takes_longer_is_told_so() -> None:
    stage = stage_of(pod(), [UNSCHEDULABLE, ORDERED])
    text = words(stage, START + timedelta(seconds=602), usual_seconds=240)
    assert text == (
        "Starting a new machine: it takes longer than the usual 4 minutes (10 minutes so far)"
    )


def test_usual_is_what_was_configured_until_it_was_measured() -> None:
    machines = NewMachines(usual_seconds=240)
    assert machines.usual_seconds == 240
    for seconds in (100, 180, 130):
        machines.note(stage_of(pod("n"), [ORDERED, event("Scheduled", 2 + seconds)]))
    machines.note(stage_of(pod("n"), [event("Scheduled", 2)]))  # needed no new machine
    assert machines.usual_seconds == 130


def test_every_step_has_words() -> None:
    for step in Step:
        assert words(Stage(step, START), START, 240)


@pytest.mark.parametrize(
    ("events", "what_to_do"),
    [
        ([UNSCHEDULABLE], "No machine had room for it, and the cluster added none: choose a sm"),
        ([ORDERED], "The new machine that was started for it was not ready in time"),
        ([event("Scheduled", 3), event("Pulling", 4)], "Its software was still being fetched"),
        ([event("Scheduled", 3), event("Started", 4)], ""),
    ],
)
def test_why_a_start_was_given_up_is_told_where_the_cluster_said_it(
    events: list[dict[str, Any]], what_to_do: str
) -> None:
    assert why_late(stage_of(pod(), events)).startswith(what_to_do)
