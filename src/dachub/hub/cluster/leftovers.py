"""What a killed hub left in the cluster."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from kubernetes_asyncio.client.rest import ApiException
from kubespawner.clients import load_config, shared_client

from dachub.hub.clock import now
from dachub.hub.cluster.pods import silent_since_of

SESSION_LABEL = "dachub/session"
GONE = 404


class PodLeftovers:
    """Finds pods by the label with their session."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    async def end(self, session_id: UUID) -> datetime | None:
        """Remove the pods of a session; when it ended, or ``None`` where nothing tells."""
        load_config()
        api = shared_client("CoreV1Api")
        found = await api.list_namespaced_pod(
            self._namespace, label_selector=f"{SESSION_LABEL}={session_id}"
        )
        ended_at = None
        for pod in found.items:
            finished = [
                status.state.terminated.finished_at
                for status in pod.status.container_statuses or []
                if status.state.terminated
            ]
            if finished:
                ended_at = max(finished)
            elif silent_since_of(api.api_client.sanitize_for_serialization(pod)) is None:
                ended_at = now()
            try:
                await api.delete_namespaced_pod(
                    pod.metadata.name, self._namespace, grace_period_seconds=0
                )
            except ApiException as error:
                if error.status != GONE:
                    raise
        return ended_at

    async def sweep(self) -> None:
        """Nothing else is ever left behind."""
