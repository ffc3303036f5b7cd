"""Backups on the cluster: jobs made of the chart's CronJob, and the platform stopped for a restore.

What ran before a restore is kept by the workloads themselves (annotations), so that whoever runs it
again, or gives it up, goes on where it was interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dachub.deploy.draining import ENDED, PEOPLES, SERVICE, SESSION
from dachub.deploy.helm import Cluster, DeployFailed
from dachub.deploy.workloads import await_workloads, stuck_pods
from dachub.model.problems import Conflict, NotFound

CRON_JOB = "dachub-backup"
BACKUPS = "/backups"
REPLICAS = "dachub/replicas-before-restore"
WRITERS = frozenset({"hub", "dachub", "dachub-storage"})
"""Deployments that write what a restore replaces."""
WRITERS_PODS = (
    "--selector=component=hub",
    "--selector=app.kubernetes.io/name=dachub,app.kubernetes.io/component in (service,storage)",
)
BACKUP_PODS = "--selector=app.kubernetes.io/name=dachub,app.kubernetes.io/component=backup"
POLL_SECONDS = 2
START_SECONDS = 600
STOP_SECONDS = 600
COPY_SECONDS = 4 * 3600
LISTED_MAX = 1000

Say = Callable[[str], None]


class RestoreUnfinished(Conflict):
    """The platform is stopped for a restore that was not finished."""

    code = "restore-unfinished"


def create(cluster: Cluster) -> str:
    """Make a backup now, as the CronJob does each night; gives what it said.

    Raises
    ------
    NotFound
        If backups are not switched on.
    DeployFailed
    """
    return _run(cluster, "now", *_container(_template(cluster))["args"])


def listing(cluster: Cluster, *options: str) -> str:
    """The backups that are kept, as ``dachub backup list`` tells them.

    Raises
    ------
    NotFound, DeployFailed
    """
    return _run(cluster, "look", "dachub", "backup", "list", BACKUPS, *options)


def fetch(cluster: Cluster, name: str, target: Path) -> None:
    """Copy a backup from the cluster to a file here.

    Raises
    ------
    NotFound, DeployFailed
    """
    with _open(cluster) as pod:
        _copy(cluster, f"{pod}:{BACKUPS}/{name}", str(target))


def put(cluster: Cluster, source: Path) -> None:
    """Copy a backup from here to the cluster, where it is one when it is there whole.

    Raises
    ------
    NotFound, DeployFailed
    """
    unfinished = f"{BACKUPS}/{source.name}.unfinished"
    with _open(cluster) as pod:
        _copy(cluster, str(source), f"{pod}:{unfinished}")
        cluster.kubectl("exec", pod, "--", "dachub", "backup", "check", unfinished)
        cluster.kubectl("exec", pod, "--", "mv", unfinished, f"{BACKUPS}/{source.name}")


def restore(cluster: Cluster, name: str, say: Say) -> None:
    """Stop the platform, put a backup back, and start it again.

    Killed or failed, it can be run again; until then the platform stays stopped.

    Raises
    ------
    NotFound
        If backups are not switched on.
    Conflict
        If a backup is being made.
    DeployFailed
        If the backup cannot be used, when nothing was stopped; or if it cannot be put back.
    """
    _template(cluster)
    for task in ("restore", "look"):  # of one that was interrupted
        _delete(cluster, task)
    if busy := _active(cluster, BACKUP_PODS):
        raise Conflict(f"A backup is being made ({', '.join(busy)}). Wait for it.")
    path = f"{BACKUPS}/{name}"
    say(_run(cluster, "look", "dachub", "backup", "check", path).strip())
    _stop(cluster, say)
    say(_run(cluster, "restore", "dachub", "backup", "restore", "--replace", path).strip())
    resume(cluster, say)
    if unknown := _unknown_servers(cluster):
        say(
            "These servers were started after the backup, and are charged to nobody; their people "
            f"get new ones. End them: kubectl delete pod {' '.join(unknown)}"
        )


def resume(cluster: Cluster, say: Say) -> None:
    """Start again what a restore stopped.

    Raises
    ------
    NotFound
        If backups are not switched on.
    DeployFailed
    """
    _template(cluster)
    stopped = {
        one["metadata"]["name"]: int(_annotations(one)[REPLICAS])
        for one in cluster.objects("deployments")
        if REPLICAS in _annotations(one)
    }
    for name, replicas in stopped.items():
        _scale(cluster, name, replicas, before=None)
    _suspend(cluster, suspended=False)
    await_workloads(cluster, stopped, say)
    say("The platform runs")


def require_finished(cluster: Cluster) -> None:
    """Refuse to go on while the platform is stopped for a restore.

    Raises
    ------
    RestoreUnfinished
    """
    if any(REPLICAS in _annotations(one) for one in cluster.objects("deployments")):
        raise RestoreUnfinished(
            "The platform is stopped for a restore that is not finished. Do it again: dachub "
            "deploy backup restore. Or start what is there: dachub deploy backup resume"
        )


# --- Inside --------------------------------------------------------------------------------------


def _template(cluster: Cluster) -> dict[str, Any]:
    """How the CronJob makes its jobs."""
    for one in cluster.objects("cronjobs"):
        if one["metadata"]["name"] == CRON_JOB:
            found: dict[str, Any] = one["spec"]["jobTemplate"]
            return found
    raise NotFound(
        f"There is no CronJob {CRON_JOB} in {cluster.namespace}. Switch backups on "
        "(cluster.backup.enabled) and run: dachub deploy apply"
    )


def _container(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["spec"]["template"]["spec"]["containers"][0]
    return found


def _job(cluster: Cluster, task: str, words: tuple[str, ...]) -> dict[str, Any]:
    """A job as the CronJob's, that does something else once."""
    template = _template(cluster)
    spec = template["spec"]
    spec["backoffLimit"] = 0
    spec.pop("activeDeadlineSeconds", None)
    _container(template)["args"] = list(words)
    if not _active(cluster, WRITERS_PODS[0]):  # no hub to be beside: any node may have its volumes
        spec["template"]["spec"].get("affinity", {}).pop("podAffinity", None)
    labels = template["metadata"]["labels"]
    metadata = {"name": f"{CRON_JOB}-{task}", "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _run(cluster: Cluster, task: str, *words: str) -> str:
    """Run a command beside the backups until it ends; gives what it said.

    A job that failed stays, for whoever looks for the reason.
    """
    name = _begin(cluster, task, *words)
    until = time.monotonic() + START_SECONDS
    while True:
        status = cluster.objects("jobs", f"--field-selector=metadata.name={name}")[0]["status"]
        if status.get("succeeded"):
            said = cluster.kubectl("logs", f"job/{name}")
            _delete(cluster, task)
            return said
        if status.get("failed"):
            said = cluster.kubectl("logs", f"job/{name}", "--tail=20")
            raise DeployFailed(f"The job {name} failed: {said.strip()}")
        _refuse_stuck(cluster, name, until)
        time.sleep(POLL_SECONDS)


@contextmanager
def _open(cluster: Cluster) -> Iterator[str]:
    """A pod that has the backups for as long as it is needed; gives its name."""
    name = _begin(cluster, "copy", "sleep", str(COPY_SECONDS))
    try:
        until = time.monotonic() + START_SECONDS
        while not (pods := _pods(cluster, name, "Running")):
            _refuse_stuck(cluster, name, until)
            time.sleep(POLL_SECONDS)
        yield pods[0]["metadata"]["name"]
    finally:
        _delete(cluster, "copy")


def _begin(cluster: Cluster, task: str, *words: str) -> str:
    job = _job(cluster, task, words)
    _delete(cluster, task)
    cluster.kubectl("create", "--filename=-", text=json.dumps(job))
    name: str = job["metadata"]["name"]
    return name


def _delete(cluster: Cluster, task: str) -> None:
    """Delete a job with its pod, which is ended where it still runs."""
    cluster.kubectl(
        *("delete", "job", f"{CRON_JOB}-{task}", "--ignore-not-found", "--cascade=foreground"),
        seconds=STOP_SECONDS,
    )


def _copy(cluster: Cluster, source: str, target: str) -> None:
    cluster.kubectl("cp", "--retries=5", source, target, seconds=COPY_SECONDS)


def _refuse_stuck(cluster: Cluster, job: str, until: float) -> None:
    if problems := [one for one in stuck_pods(cluster) if one.startswith(f"{job}-")]:
        raise DeployFailed("Something cannot start: " + "; ".join(problems))
    if time.monotonic() > until and _pods(cluster, job, "Pending"):
        raise DeployFailed(
            f"The pod of the job {job} found no place. See why: kubectl describe job/{job} and its "
            "pod. Its volumes must be on one machine, the hub's where that runs."
        )


def _pods(cluster: Cluster, job: str, phase: str) -> list[dict[str, Any]]:
    pods = cluster.objects("pods", f"--selector=job-name={job}")
    return [pod for pod in pods if pod["status"].get("phase") == phase]


def _active(cluster: Cluster, selector: str) -> list[str]:
    """Names of pods that have not ended."""
    return [
        pod["metadata"]["name"]
        for pod in cluster.objects("pods", selector)
        if pod["status"].get("phase") not in ENDED
    ]


def _stop(cluster: Cluster, say: Say) -> None:
    """Stop all that writes what is replaced; people's servers go on."""
    _suspend(cluster, suspended=True)
    for one in cluster.objects("deployments"):
        if one["metadata"]["name"] in WRITERS:
            before = _annotations(one).get(REPLICAS, str(one["spec"]["replicas"]))
            _scale(cluster, one["metadata"]["name"], 0, before=before)
    until = time.monotonic() + STOP_SECONDS
    while left := [name for pods in WRITERS_PODS for name in _active(cluster, pods)]:
        if time.monotonic() > until:
            raise DeployFailed(f"These pods do not stop: {', '.join(left)}")
        time.sleep(POLL_SECONDS)
    say("The platform is stopped; people's servers go on")


def _scale(cluster: Cluster, name: str, replicas: int, *, before: str | None) -> None:
    """At once, so that a kill leaves no workload that does not know how it was."""
    patch = {"metadata": {"annotations": {REPLICAS: before}}, "spec": {"replicas": replicas}}
    cluster.kubectl("patch", "deployment", name, "--type=merge", f"--patch={json.dumps(patch)}")


def _suspend(cluster: Cluster, *, suspended: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspended}})
    cluster.kubectl("patch", "cronjob", CRON_JOB, "--type=merge", f"--patch={patch}")


def _annotations(one: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = one["metadata"].get("annotations") or {}
    return found


def _unknown_servers(cluster: Cluster) -> list[str]:
    """Pods of servers whose sessions the ledger does not know."""
    command = ("dachub", "session", "list", "--state=running", f"--limit={LISTED_MAX}", "--json")
    sessions = json.loads(cluster.kubectl("exec", SERVICE, "--", *command))
    if len(sessions) == LISTED_MAX:
        return []  # there may be more
    known = {one["session_id"] for one in sessions}
    return [
        pod["metadata"]["name"]
        for pod in cluster.objects("pods", f"--selector={PEOPLES}")
        if pod["status"].get("phase") not in ENDED
        and pod["metadata"].get("labels", {}).get(SESSION) not in known
    ]
