"""KubeSpawner's reflectors, which let us take note of each change as it arrives.

They hold the present only: of a pod that is gone, nobody could say any more when it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from kubespawner.reflector import ResourceReflector
from kubespawner.spawner import EventReflector, PodReflector

from dachub.hub.clock import now

Resource = dict[str, Any]
EVENTS_MAX = 100


class Noted(dict[str, Resource]):
    """Resources by namespace and name; ``note`` is given each that changes, and how."""

    def __init__(
        self, resources: Iterable[tuple[str, Resource]], note: Callable[[Resource, bool], None]
    ) -> None:
        super().__init__(resources)
        self._note = note
        for resource in self.values():
            note(resource, False)

    def __setitem__(self, key: str, resource: Resource) -> None:
        super().__setitem__(key, resource)
        self._note(resource, False)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a resource that is gone."""
        if key in self:
            self._note(self[key], True)
        return super().pop(key, *default)


class Tireless(ResourceReflector):  # type: ignore[misc]
    """Never gives up.

    KubeSpawner's would, after a minute without an answer of the cluster, and the hub would take
    what it knew then for true until its next restart.
    """

    async def _watch_and_update(self) -> None:
        while not self._stopping:
            await super()._watch_and_update()


class NotedPods(Tireless, PodReflector):  # type: ignore[misc]
    """Pods of people's servers; listeners are told, by pod name, of each change.

    Attributes
    ----------
    heard_at
        When the cluster last said how pods are; at most half a minute ago, while it answers.
    """

    resources: dict[str, Resource]
    listeners: dict[str, Callable[[Resource, bool], None]] = {}  # noqa: RUF012  of all
    heard_at: datetime | None = None

    async def _list_and_update(self, resource_version: str | None = None) -> Any:
        before = dict(self.resources)
        version = await super()._list_and_update(resource_version)
        for key in before.keys() - self.resources.keys():
            self._tell(before[key], True)
        self.heard_at = now()
        self.resources = Noted(self.resources.items(), self._hear)
        return version

    def _hear(self, pod: Resource, gone: bool) -> None:
        self.heard_at = now()
        self._tell(pod, gone)

    @classmethod
    def _tell(cls, pod: Resource, gone: bool) -> None:
        listener = cls.listeners.get(pod["metadata"]["name"])
        if listener is not None:
            listener(pod, gone)


class NotedEvents(Tireless, EventReflector):  # type: ignore[misc]
    """What the cluster says of pods, by pod name: KubeSpawner would sort them all for each look."""

    resources: dict[str, Resource]
    by_pod: dict[str, dict[str, Resource]] = {}  # noqa: RUF012  of all

    async def _list_and_update(self, resource_version: str | None = None) -> Any:
        version = await super()._list_and_update(resource_version)
        self.by_pod.clear()
        self.resources = Noted(self.resources.items(), self._note)
        return version

    def _note(self, event: Resource, gone: bool) -> None:
        pod, uid = event["involvedObject"]["name"], event["metadata"]["uid"]
        known = self.by_pod.setdefault(pod, {})
        if gone:
            known.pop(uid, None)
            if not known:
                del self.by_pod[pod]
        elif uid in known or len(known) < EVENTS_MAX:
            known[uid] = event
