"""What is asked of the cluster for a backup and a restore; `tests/k8s` asks a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.deploy.test_values import settings

from dachub.deploy import backups, chart
from dachub.deploy.backups import REPLICAS, RestoreUnfinished
from dachub.deploy.helm import Cluster
from dachub.model.problems import Conflict, NotFound

CRON_JOB = {
    "metadata": {"name": "dachub-backup"},
    "spec": {
        "jobTemplate": {
            "metadata": {"labels": {"app.kubernetes.io/component": "backup"}},
            "spec": {
                "backoffLimit": 2,
                "activeDeadlineSeconds": 7200,
                "template": {
                    "spec": {
                        "affinity": {"podAffinity": {}, "nodeAffinity": {}},
                        "containers": [{"args": ["dachub", "backup", "create", "/backups"]}],
                    }
                },
            },
        }
    },
}


def pod(name: str, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": phase}}


def deployment(name: str, replicas: int, **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": annotations}
    return {"metadata": metadata, "spec": {"replicas": replicas}}


class Stub:
    """A cluster that has these objects, and notes what it is told; its jobs succeed at once."""

    namespace = "dac"

    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self.has = {"cronjobs": [json.loads(json.dumps(CRON_JOB))], **objects}
        self.told: list[tuple[str, ...]] = []
        self.made: list[dict[str, Any]] = []

    def objects(self, kind: str, *selection: str) -> list[dict[str, Any]]:
        if kind == "jobs":
            return [{"status": {"succeeded": 1}}]
        if kind == "pods" and selection[0] != backups.BACKUP_PODS:
            return []
        return self.has.get(kind, [])

    def kubectl(self, *words: str, text: str | None = None, seconds: float = 0) -> str:
        del seconds
        self.told.append(words)
        if text is not None:
            self.made.append(yaml.safe_load(text))
        return "[]" if words[0] == "exec" else "done"

    @property
    def checked(self) -> Cluster:
        """Itself, as what it stands for."""
        return self  # type: ignore[return-value]


def test_a_job_is_the_cron_jobs_but_for_what_it_does() -> None:
    stub = Stub()
    backups.create(stub.checked)
    (job,) = stub.made
    spec = job["spec"]["template"]["spec"]
    assert job["metadata"]["name"] == "dachub-backup-now"
    assert spec["containers"][0]["args"] == ["dachub", "backup", "create", "/backups"]
    assert spec["affinity"] == {"nodeAffinity": {}}  # no hub runs that it could be beside
    assert "activeDeadlineSeconds" not in job["spec"]


def test_without_backups_it_says_how_to_switch_them_on() -> None:
    with pytest.raises(NotFound, match=r"cluster\.backup\.enabled"):
        backups.restore(Stub(cronjobs=[]).checked, "dachub-1.tar", print)


def test_nothing_is_stopped_while_a_backup_is_made() -> None:
    stub = Stub(pods=[pod("dachub-backup-1"), pod("dachub-backup-0", "Succeeded")])
    with pytest.raises(Conflict, match=r"being made \(dachub-backup-1\)"):
        backups.restore(stub.checked, "dachub-1.tar", print)
    assert not any(words[0] == "patch" for words in stub.told)


def test_who_writes_is_stopped_and_knows_how_many_it_was_also_the_second_time() -> None:
    stub = Stub(
        deployments=[
            deployment("dachub", 2),
            deployment("hub", 0, **{REPLICAS: "1"}),  # of a restore that was killed
            deployment("proxy", 1),
        ]
    )
    backups._stop(stub.checked, lambda _: None)
    patched = {
        words[2]: json.loads(words[-1].removeprefix("--patch="))
        for words in stub.told
        if words[:2] == ("patch", "deployment")
    }
    assert {
        name: (patch["spec"]["replicas"], patch["metadata"]["annotations"][REPLICAS])
        for name, patch in patched.items()
    } == {"dachub": (0, "2"), "hub": (0, "1")}


def test_what_was_stopped_starts_again_as_it_was() -> None:
    stub = Stub(deployments=[deployment("dachub", 0, **{REPLICAS: "3"}), deployment("proxy", 1)])
    backups.resume(stub.checked, lambda _: None)
    (patched, suspended) = [words for words in stub.told if words[0] == "patch"]
    assert patched[2] == "dachub"
    patch = json.loads(patched[-1].removeprefix("--patch="))
    assert patch == {"metadata": {"annotations": {REPLICAS: None}}, "spec": {"replicas": 3}}
    assert json.loads(suspended[-1].removeprefix("--patch=")) == {"spec": {"suspend": False}}


def test_nothing_is_applied_while_a_restore_is_unfinished() -> None:
    backups.require_finished(Stub(deployments=[deployment("dachub", 2)]).checked)
    stopped = Stub(deployments=[deployment("dachub", 0, **{REPLICAS: "2"})])
    with pytest.raises(RestoreUnfinished, match="backup resume"):
        backups.require_finished(stopped.checked)


def test_the_chart_is_told_when_where_and_which_database() -> None:
    given = chart.values(settings("  backup: {schedule: '@daily', keep: 3, claim: nfs}"))["backup"]
    assert (given["schedule"], given["keep"]) == ("@daily", 3)
    assert given["volume"]["existingClaim"] == "nfs"
    assert "hubDatabase" not in given
    elsewhere = settings("  hub: {values: {hub: {db: {type: postgres}}}}")
    assert chart.values(elsewhere)["backup"]["hubDatabase"] == {"claim": ""}
    deeper = settings("  hub: {values: {hub: {db: {pvc: {subPath: hub}}}}}")
    assert chart.values(deeper)["backup"]["hubDatabase"] == {"subPath": "hub"}
