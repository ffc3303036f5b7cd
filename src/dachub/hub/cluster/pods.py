"""A server as a pod: when it failed, when it ended, and why; as exactly as the cluster knows."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from kubespawner import KubeSpawner
from traitlets import Float

from dachub.hub.clock import now
from dachub.hub.cluster.progress import Stage, stage_of
from dachub.hub.cluster.reflectors import NotedEvents, NotedPods, Resource
from dachub.model.problems import DachubError

CONTAINER = "notebook"
LOOK_SECONDS = 0.5
# A registry that does not answer for a moment is asked again by the cluster itself.
IMAGE_PATIENCE_SECONDS = 60
IMAGE_PROBLEMS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CONTAINER_PROBLEMS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
# A pod that is to end on a machine that answers is gone after its grace period; later than that
# nobody there has heard of it.
SILENT_SECONDS = 60


class PodFailed(DachubError):
    """The pod cannot become a server.

    Attributes
    ----------
    exit_code
        Of the server, if it ran.
    said
        What it left as its last words.
    """

    code = "pod-failed"
    status = 500

    def __init__(self, message: str, *, exit_code: int | None = None, said: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.said = said


class PodExited(PodFailed):
    """The server ended while it was starting."""

    code = "server-exited"


class ImageMissing(PodFailed):
    """The image cannot be fetched."""

    code = "image-not-available"


class PodNotMade(PodFailed):
    """The machine cannot make the server out of what it was told."""

    code = "pod-not-made"


class Pod(KubeSpawner):  # type: ignore[misc]
    """Starts, watches and removes one pod.

    Attributes
    ----------
    died_at
        When the server in it ended, where the cluster told.
    machine_lost
        Whether it ended because its machine did: nobody saw how.
    vouched_until
        Up to when the cluster knew of the server, where nobody told of its end.
    why_ended
        For its owner, where it was not their own doing.
    """

    lost_after_seconds = Float(
        300, help="For how long a machine may be silent until its servers are given up"
    ).tag(config=True)
    died_at: datetime | None = None
    machine_lost = False
    vouched_until: datetime | None = None
    why_ended = ""
    _pod_uid: str | None = None
    _telling: asyncio.Task[None] | None = None

    async def _start_reflector(
        self, kind: str, reflector_class: type, replace: bool = False, **options: Any
    ) -> Any:
        noting = {"pods": NotedPods, "events": NotedEvents}.get(kind, reflector_class)
        return await super()._start_reflector(kind, noting, replace=replace, **options)

    @property
    def pod(self) -> Resource | None:
        """The pod as it was last seen."""
        if self.pod_reflector is None:
            return None
        found: Resource | None = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}")
        return found

    @property
    def image_id(self) -> str:
        """The image that runs, by its digest; empty as long as the cluster does not tell."""
        statuses = _statuses(self.pod) if self.pod is not None else []
        return next((str(one.get("imageID", "")) for one in statuses), "")

    @property
    def sign_of_life_at(self) -> datetime:
        """Up to when the cluster vouches for the server, if nothing tells of its end."""
        return (self.pod is not None and silent_since_of(self.pod)) or self._heard_at or now()

    @property
    def stage(self) -> Stage:
        """How far the start is."""
        events = list(NotedEvents.by_pod.get(self.pod_name, {}).values())
        return stage_of(self.pod, events)

    async def start(self) -> Any:
        """Make the pod and wait until it runs.

        Raises
        ------
        PodFailed
            As soon as the cluster says that it will not.
        """
        await self._start_watching_pods()
        if self.pod is not None:  # left behind by an earlier start
            await Pod.stop(self, now=True)
        self.died_at, self.why_ended, self._pod_uid = None, "", None
        self.machine_lost, self.vouched_until = False, None
        self._listen()
        starting = super().start()
        failing = asyncio.ensure_future(self._until_failed())
        try:
            await asyncio.wait({starting, failing}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done() and not starting.done():
                await failing
            return await starting
        finally:
            for task in (starting, failing):
                task.cancel()
            await asyncio.gather(starting, failing, return_exceptions=True)

    async def stop(self, now: bool = False) -> None:
        """Remove the pod; by force where its machine does not confirm that it is gone.

        KubeSpawner would wait as long as a start may take, which includes the wait in a queue.
        """
        if self.pod is not None and silent_since_of(self.pod) is not None:
            now = True  # nobody there would hear of a period of grace
        try:
            async with asyncio.timeout(self.delete_grace_period + SILENT_SECONDS):
                await super().stop(now)
        except TimeoutError:
            self.log.warning("%s is not confirmed to be gone; removed by force", self.pod_name)
            async with asyncio.timeout(SILENT_SECONDS):
                await super().stop(now=True)

    async def poll(self) -> int | None:
        """``None`` while the server lives."""
        await self._start_watching_pods()
        self._listen()
        pod = self.pod
        if pod is not None and _is_given_up(pod, self.lost_after_seconds):
            self._lose(pod)
            return 1
        status: int | None = await super().poll()
        return status

    def clear_state(self) -> None:
        """Forget the pod."""
        super().clear_state()
        NotedPods.listeners.pop(self.pod_name, None)

    async def remove(self) -> None:
        """Remove what is left of a pod that ended."""
        if self.pod is not None:
            await Pod.stop(self, now=True)

    @property
    def _heard_at(self) -> datetime | None:
        heard_at: datetime | None = self.pod_reflector.heard_at if self.pod_reflector else None
        return heard_at

    def _listen(self) -> None:
        if NotedPods.listeners.get(self.pod_name) != self._changed:
            NotedPods.listeners[self.pod_name] = self._changed
            if (pod := self.pod) is not None:
                self._changed(pod, gone=False)

    def _changed(self, pod: Resource, gone: bool) -> None:
        """Note the end of our pod, at the moment the cluster tells of it."""
        uid = pod["metadata"]["uid"]
        ended = _terminated(pod)
        if ended is None and not gone:
            return
        if uid == self._pod_uid:  # known already
            return
        self._pod_uid = uid
        if ended is not None:
            self.died_at = _moment(ended.get("finishedAt"))
            self.why_ended = _why_ended(pod, ended)
        elif silent_since_of(pod) is not None or _disruption(pod) in MACHINE_LOST:
            self._lose(pod)
        else:
            self.why_ended = _why_ended(pod, ended)
            self.vouched_until = self._heard_at
        if self._poll_callback is not None and self._telling is None:
            self._telling = asyncio.ensure_future(self._tell_hub())

    async def _tell_hub(self) -> None:
        """Let the hub clean up now, not at its next poll."""
        try:
            if not self.pending:
                await self.poll_and_notify()
        finally:
            self._telling = None

    def _lose(self, pod: Resource) -> None:
        """Note that a pod ended with its machine."""
        if self.machine_lost:
            return
        self.machine_lost = True
        self.vouched_until = silent_since_of(pod)  # else it is what the hub's heartbeat noted
        when = f" at {self.vouched_until:%H:%M} UTC" if self.vouched_until else ""
        self.why_ended = (
            f"The machine on which your server ran was lost{when}. Your files are as they were "
            "last saved; what was only in memory is gone."
        )
        self.log.warning("%s is given up: its machine was lost", self.pod_name)

    async def _until_failed(self) -> None:
        patience = _Patience(IMAGE_PATIENCE_SECONDS)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            pod = self.pod
            if pod is not None and (failure := _failure(pod, patience)) is not None:
                raise failure


class _Patience:
    """Whether something has gone on for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def ends(self, goes_on: bool) -> bool:
        if not goes_on:
            self._since = None
            return False
        time = asyncio.get_running_loop().time()
        self._since = time if self._since is None else self._since
        return time - self._since >= self._seconds


def _statuses(pod: Resource, which: str = "containerStatuses") -> list[Resource]:
    return list(pod["status"].get(which) or [])


def _terminated(pod: Resource) -> Resource | None:
    """How the server in a pod ended, if it did."""
    for container in _statuses(pod):
        if container["name"] == CONTAINER and "terminated" in container["state"]:
            ended: Resource = container["state"]["terminated"]
            return ended
    return None


def silent_since_of(pod: Resource) -> datetime | None:
    """Since when the cluster hears nothing of the machine of a pod; ``None`` while it does.

    The machine itself says that a pod is not ready only where a container is not. So a pod that is
    not ready although all its containers are was marked by the cluster, 40 to 50 seconds after the
    machine's last word. What is said of the containers is from then.
    """
    if pod["spec"].get("readinessGates"):
        return None
    conditions = {one["type"]: one for one in pod["status"].get("conditions") or []}
    ready = conditions.get("Ready", {})
    containers = conditions.get("ContainersReady", {})
    if ready.get("status") != "False" or containers.get("status") != "True":
        return None
    return _moment(ready.get("lastTransitionTime"))


def _is_given_up(pod: Resource, lost_after_seconds: float) -> bool:
    """Whether a machine says nothing more of its pod, for too long."""
    if _terminated(pod) is not None:
        return False
    wanted = _moment(pod["metadata"].get("deletionTimestamp"))
    silent_since = silent_since_of(pod)
    if silent_since is None:
        return wanted is not None and now() >= wanted + timedelta(seconds=SILENT_SECONDS)
    limit = silent_since + timedelta(seconds=lost_after_seconds)
    return now() >= (min(wanted, limit) if wanted else limit)


def _failure(pod: Resource, patience: _Patience) -> PodFailed | None:
    """Why a pod that starts will not become a server; ``None`` while it may."""
    ended = _terminated(pod)
    if ended is not None:
        said = (ended.get("message") or "").strip()
        return PodExited(
            _why_ended(pod, ended)
            or f"Your server stopped while it was starting (exit status {ended['exitCode']}).",
            exit_code=ended["exitCode"],
            said=said,
        )
    if pod["status"]["phase"] == "Failed":
        return PodFailed(_why_ended(pod, None) or "The cluster gave the server up.")
    waiting = {
        state["waiting"].get("reason", ""): state["waiting"].get("message", "")
        for which in ("initContainerStatuses", "containerStatuses")
        for state in (container["state"] for container in _statuses(pod, which))
        if "waiting" in state
    }
    if patience.ends(not IMAGE_PROBLEMS.isdisjoint(waiting)):
        return ImageMissing(
            "The software of this environment could not be fetched: its image "
            f"{pod['spec']['containers'][0]['image']} is not to be had."
        )
    for reason in CONTAINER_PROBLEMS & waiting.keys():
        return PodNotMade(f"The server could not be made ({reason}: {waiting[reason][:200]}).")
    return None


def _why_ended(pod: Resource, ended: Resource | None) -> str:
    """Why a server ended, for its owner; nothing where it ended by itself."""
    if ended is not None and ended.get("reason") == "OOMKilled":
        return "Your server used more memory than its size has, and was ended."
    if pod["status"].get("reason") == "Evicted":
        return f"The cluster had to end your server: {pod['status'].get('message', '')[:200]}"
    disruption = _disruption(pod)
    if disruption is None:
        return ""
    return _DISRUPTIONS.get(disruption, "The cluster had to end your server.")


def _disruption(pod: Resource) -> str | None:
    """Why the cluster took a pod away, where it did."""
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return str(condition.get("reason", ""))
    return None


_DISRUPTIONS = {
    "PreemptionByScheduler": "Your server had to make room for something more important.",
    "DeletionByTaintManager": "The machine on which your server ran stopped answering.",
    "EvictionByEvictionAPI": "The machine on which your server ran was taken out of service.",
    "TerminationByKubelet": "The machine on which your server ran had to end it.",
    "DeletionByPodGC": "The machine on which your server ran is gone.",
}
MACHINE_LOST = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
"""Disruptions by which a machine was lost, where it did not tell of the server's end."""


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
