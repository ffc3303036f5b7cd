"""The spawner of a cluster: each person's server is a pod."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from dachub.hub import runtime, starts
from dachub.hub.clock import now
from dachub.hub.cluster.leftovers import SESSION_LABEL
from dachub.hub.cluster.pods import Pod, PodFailed
from dachub.hub.cluster.progress import PROGRESS, Step, why_late, words
from dachub.hub.room import Room, why_full
from dachub.hub.scratch import SCRATCH, scratch_variables
from dachub.hub.sessions import HomeFull, SessionMixin, StartFailed
from dachub.hub.settings import PodSettings
from dachub.model.probe import NO_ROOM
from dachub.model.site import ResolvedChoice

# Neither of the autoscalers in use heeds the other's word: both are said.
NOT_TO_BE_MOVED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
GROUP_FOLDERS = PurePosixPath("/groups")
SHARED = "shared"
PROGRESS_SECONDS = 2
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
STEPS_TOLD = {
    Step.FULL: starts.Action.WAITING,
    Step.NEW_MACHINE: starts.Action.WAITING,
    Step.VOLUME: starts.Action.VOLUME,
    Step.VOLUME_HELD: starts.Action.VOLUME,
    Step.IMAGE: starts.Action.IMAGE,
}


class PodSpawner(SessionMixin, Pod):
    """Starts servers as pods; what Zero to JupyterHub says of pods holds beside what is here."""

    # KubeSpawner's own settings; what the site says of them, we add to.
    image: str
    extra_labels: dict[str, str]
    extra_annotations: dict[str, str]
    extra_resource_limits: dict[str, str]
    extra_pod_config: dict[str, Any]
    volumes: Any
    volume_mounts: Any
    init_containers: Any

    _making = False
    _site_image = ""

    async def prepare(self, choice: ResolvedChoice) -> None:
        """Image, resources, labels and volumes of the pod."""
        pods = self._settings()
        environment, size, session = choice.environment, choice.size, self.session
        assert session is not None  # noqa: S101  it is described before
        self._site_image = self._site_image or self.image
        self.image = environment.image or self._site_image
        is_ours = environment.image is not None and not environment.is_own
        self.cmd = list(pods.command if is_ours else pods.plain_command)
        self.cpu_limit = self.cpu_guarantee = size.milli_cores / 1000
        self.mem_limit = self.mem_guarantee = size.memory_bytes
        limits = dict(self.extra_resource_limits)
        limits.pop(pods.gpu_resource, None)
        self.extra_resource_limits = limits | (
            {pods.gpu_resource: str(size.gpus)} if size.gpus else {}
        )
        self.extra_labels = {**self.extra_labels, SESSION_LABEL: str(session.session_id)}
        self.extra_annotations = {**self.extra_annotations, **NOT_TO_BE_MOVED}
        # A server that ends has ended: started again by the cluster it would be another session.
        self.extra_pod_config = {**self.extra_pod_config, "restart_policy": "Never"}
        if pods.shared_claim is not None:
            self._share(pods, pods.shared_claim)

    def get_env(self) -> dict[str, str]:
        """Environment of the server."""
        env = super().get_env()
        pods = self._settings()
        rescue = runtime.current().settings.servers.rescue
        env |= {
            "HOME": pods.home,
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "DACHUB_FREE_BYTES_MIN": str(rescue.free_bytes_min),
            "DACHUB_FREE_FILES_MIN": str(rescue.free_files_min),
        }
        if pods.shared_claim is not None:
            env["DACHUB_GROUP_FOLDERS"] = str(GROUP_FOLDERS)
        if self.rescue is not None:
            env |= scratch_variables(SCRATCH)
        return env

    async def start(self) -> Any:
        """Start the server."""
        self._making = True
        try:
            return await super().start()
        finally:
            self._making = False

    @property
    def image_digest(self) -> str | None:
        """Of the image that runs, as the cluster tells."""
        found = _DIGEST.search(self.image_id)
        return found[0] if found else None

    async def launch(self) -> Any:
        """Make the pod; returns the address once its server runs.

        Raises
        ------
        HomeFull
            If the server found no room in its home.
        StartFailed
            If the pod cannot become a server.
        """
        telling = asyncio.ensure_future(self._tell_steps())
        try:
            address = await super().launch()
        except PodFailed as failure:
            if failure.exit_code == NO_ROOM and (reason := self._why_full(failure.said)):
                raise HomeFull(reason) from failure
            contact = runtime.current().settings.site.contact
            raise StartFailed(f"{failure.message} If this goes on, ask {contact}.") from failure
        finally:
            telling.cancel()
        runtime.current().new_machines.note(self.stage)
        return address

    async def stop(self, now: bool = False) -> None:
        """Stop the server; the session ends when it is dead."""
        if self._making:  # KubeSpawner found the pod of an earlier start in its way
            await Pod.stop(self, now)
        else:
            await super().stop(now)

    async def clean_up(self) -> None:
        """Remove the pod, and remember why it ended for the next start."""
        runtime.current().last_ends[self.user.name] = self.why_ended
        await self.remove()

    async def failure_reason(self) -> str:
        """What the cluster says."""
        return f"{self.why_ended} " if self.why_ended else why_late(self.stage)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the waiting person sees."""
        async for event in self.places():
            yield event
        said = ""
        while True:
            stage = self.stage
            usual_seconds = runtime.current().new_machines.usual_seconds
            text = words(stage, now(), usual_seconds)
            if self.notice:
                text = f"{text}. {self.notice}"
            if text != said:
                said = text
                yield {"progress": PROGRESS[stage.step], "message": text, "step": stage.step}
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _tell_steps(self) -> None:
        """Log what the start waits for, each step as it begins."""
        told: Step | None = None
        while True:
            step = self.stage.step
            if step is not told and step in STEPS_TOLD and self.session is not None:
                starts.tell(STEPS_TOLD[step], self.session, step=step.value)
            told = step
            await asyncio.sleep(PROGRESS_SECONDS)

    def _settings(self) -> PodSettings:
        pods = runtime.current().settings.pods
        if pods is None:
            raise RuntimeError("PodSpawner needs the 'pods' section of the hub's settings")
        return pods

    def _share(self, pods: PodSettings, claim: str) -> None:
        """Mount the folders of the person's groups; directories that lack are made before."""
        memberships = self.person.groups if self.person else ()
        groups = sorted(membership.group for membership in memberships)
        folders = [f"{pods.groups_path}/{group}" for group in groups]
        self.volumes = {
            **self._by_name(self.volumes),
            SHARED: {"name": SHARED, "persistentVolumeClaim": {"claimName": claim}},
        }
        mounts = self._by_name(self.volume_mounts)
        for group, folder in zip(groups, folders, strict=True):
            at = GROUP_FOLDERS / group
            mounts[f"group-{group}"] = {"name": SHARED, "mountPath": str(at), "subPath": folder}
        self.volume_mounts = mounts
        if pods.helper_image is None:
            return
        wanted = [f"/shared/{path}" for path in (f"{pods.homes_path}/{self.user.name}", *folders)]
        containers = [
            one for one in self._sorted_dict_values(self.init_containers) if _name(one) != SHARED
        ]
        self.init_containers = [
            *containers,
            {
                "name": SHARED,
                "image": pods.helper_image,
                "command": ["mkdir", "-p", "--", *wanted],
                "volumeMounts": [{"name": SHARED, "mountPath": "/shared"}],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"memory": "64Mi"},
                },
            },
        ]

    def _by_name(self, given: Any) -> dict[str, Any]:
        """Volumes or mounts as Zero to JupyterHub gives them, less ours of an earlier start."""
        named = given if isinstance(given, dict) else {str(at): one for at, one in enumerate(given)}
        return {key: one for key, one in named.items() if one["name"] != SHARED}

    def _why_full(self, said: str) -> str | None:
        try:
            room = Room.model_validate_json(said)
        except ValidationError:
            return None
        return why_full(room, runtime.current().settings.servers.rescue)


def _name(container: Any) -> str:
    """Name of a container as a mapping or as KubeSpawner's own object."""
    return str(container["name"] if isinstance(container, dict) else container.name)
