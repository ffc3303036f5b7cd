"""What people's volumes hold, where each home is one: as the cluster's machines count it.

The kubelet of a machine counts the volumes of the pods that run there, once a minute; of a volume
that no pod has mounted nothing new is known. It is asked directly, which takes the right to read
``nodes/stats``: the way through the cluster's API would take ``nodes/proxy``, by which one can
do anything on any machine.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dachub.model.problems import DachubError
from dachub.model.storage import StorageMethod
from dachub.storage.models import Measurement

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, which is exchanged every hour, and the cluster's certificates."""
HOMES = "component=singleuser-storage"
USERNAME = "hub.jupyter.org/username"
PAGE = 500
AT_ONCE = 8
ANSWER_SECONDS = 10

log = structlog.get_logger(__name__)


class ClusterUnavailable(DachubError):
    """The cluster does not answer, or refuses us."""

    code = "cluster-unavailable"
    status = 503


@dataclass(frozen=True, slots=True)
class Volume:
    """A person's volume; ``measured`` where a machine has mounted it."""

    username: str
    measured: Measurement | None


class Volumes(Protocol):
    """Tells what all people's volumes hold."""

    async def read(self) -> list[Volume]:
        """All of them.

        Raises
        ------
        ClusterUnavailable
        """
        ...


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Claim(_Told):
    namespace: str
    name: str


class _Counted(_Told):
    claim: _Claim | None = Field(default=None, alias="pvcRef")
    used_bytes: int | None = Field(default=None, alias="usedBytes")
    files: int | None = Field(default=None, alias="inodesUsed")


class _Pod(_Told):
    volume: list[_Counted] = []


class _Summary(_Told):
    pods: list[_Pod]


class ClusterVolumes:
    """Asks the cluster in which it runs, with the account of its pod.

    Parameters
    ----------
    account
        Directory with ``token``, ``namespace`` and ``ca.crt``.
    machine_certificates
        What signs the machines' own certificates; the cluster's when not given.
    """

    def __init__(
        self,
        machine_certificates: Path | None = None,
        *,
        account: Path = ACCOUNT,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._account = account
        self._machine_certificates = machine_certificates or account / "ca.crt"
        host, port = (environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
        self._api = f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1"

    async def read(self) -> list[Volume]:
        """All volumes of people's homes; a machine that does not answer is left out.

        Raises
        ------
        ClusterUnavailable
        """
        try:
            async with self._client(self._account / "ca.crt") as api:
                namespace = (self._account / "namespace").read_text().strip()
                claims = [
                    claim["metadata"]
                    async for claim in self._list(
                        api, f"namespaces/{namespace}/persistentvolumeclaims", labelSelector=HOMES
                    )
                ]
                machines = [_kubelet(each) async for each in self._list(api, "nodes")]
            counted = await self._counted(machines)
        except (httpx.HTTPError, OSError, KeyError, ValueError) as error:
            raise ClusterUnavailable(
                f"The cluster does not tell what volumes hold ({type(error).__name__}: {error}). "
                "Look at the account of this pod: it must be allowed to list nodes and claims."
            ) from error
        owners = {
            claim["name"]: claim["annotations"][USERNAME]
            for claim in claims
            if USERNAME in claim.get("annotations", {})
        }
        return [
            Volume(username, counted.get((namespace, name))) for name, username in owners.items()
        ]

    async def _list(
        self, api: httpx.AsyncClient, what: str, **query: str
    ) -> AsyncIterator[dict[str, Any]]:
        go_on = ""
        while True:
            answer = await api.get(
                f"{self._api}/{what}", params={**query, "limit": PAGE, "continue": go_on}
            )
            answer.raise_for_status()
            told = answer.json()
            for item in told["items"]:
                yield item
            if not (go_on := told["metadata"].get("continue", "")):
                return

    async def _counted(self, machines: list[str]) -> dict[tuple[str, str], Measurement]:
        """What the machines have mounted, by namespace and name of the claim."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(kubelet: str) -> list[_Counted]:
            async with turns:
                return await _volumes_at(client, kubelet)

        async with self._client(self._machine_certificates) as client:
            told = await asyncio.gather(*map(ask, machines))
        return {
            (volume.claim.namespace, volume.claim.name): Measurement(
                method=StorageMethod.VOLUME,
                bytes=volume.used_bytes,
                allocated_bytes=volume.used_bytes,
                files=volume.files or 0,
            )
            for volumes in told
            for volume in volumes
            if volume.claim is not None and volume.used_bytes is not None
        }

    @asynccontextmanager
    async def _client(self, certificates: Path) -> AsyncIterator[httpx.AsyncClient]:
        # Read anew each time: both are exchanged while we run.
        token = (self._account / "token").read_text().strip()
        async with httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=certificates),
            timeout=ANSWER_SECONDS,
            trust_env=False,
        ) as client:
            yield client


def _kubelet(machine: Mapping[str, Any]) -> str:
    """Where the kubelet of a machine listens."""
    status = machine["status"]
    addresses = {each["type"]: each["address"] for each in status["addresses"]}
    host = addresses["InternalIP"]
    port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


async def _volumes_at(client: httpx.AsyncClient, kubelet: str) -> list[_Counted]:
    """What one machine has mounted; nothing if it does not answer: others do."""
    try:
        answer = await client.get(f"{kubelet}/stats/summary")
        answer.raise_for_status()
        told = _Summary.model_validate_json(answer.content)
    except (httpx.HTTPError, ValidationError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        log.warning("a machine does not tell what its volumes hold", at=kubelet, reason=reason)
        return []
    return [volume for pod in told.pods for volume in pod.volume]
