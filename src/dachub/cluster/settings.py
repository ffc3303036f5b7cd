"""The section ``cluster`` of ``dachub.yaml``: where and how ``dachub deploy`` installs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from dachub.model.settings import Section, is_loopback

DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class HubChartSettings(Section):
    """The Zero to JupyterHub chart that stands beside ours."""

    release: DnsName | None = Field(
        default=None,
        description="Name of its Helm release; <namespace>-jupyterhub when not given, because what "
        "belongs to the whole cluster is named after it",
    )
    chart: str = Field(
        default="jupyterhub", description="Its name in the repository, or a directory or file"
    )
    repository: str | None = Field(
        default="https://hub.jupyter.org/helm-chart/",
        description="Where Helm finds it; null where chart is a directory or file",
    )
    version: str | None = Field(default=None, description="Version; the newest when not given")
    values: dict[str, Any] = Field(
        default={}, description="Values of the site's own, merged over those that dachub makes"
    )


class ImageSettings(Section):
    """Container images."""

    registry: str = Field(
        default="", description="Prefix of dachub's images, such as registry.example.org/dac"
    )
    insecure: bool = Field(
        default=False,
        description="The registry has no TLS; of one on loopback that is taken for granted",
    )
    base: str = Field(
        default="docker.io/library/python:3.12-slim-bookworm",
        description="What they are built on: Debian with Python 3.11 or newer; a digest pins it",
    )
    jupyterhub: Literal[5, 6] = Field(
        default=5,
        description="JupyterHub in hub and servers: that of Zero to JupyterHub 4, or 6",
    )
    tag: str | None = Field(default=None, description="Their tag; dachub's version when not given")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When machines ask the registry"
    )
    pull_logins: tuple[DnsName, ...] = Field(
        default=(), description="Names of Secrets with logins for registries"
    )

    @property
    def plain_http(self) -> bool:
        """Whether the registry may be spoken to without TLS."""
        return self.insecure or is_loopback(urlsplit(f"//{self.registry}").hostname or "")


class HomeSettings(Section):
    """Where people's homes are."""

    kind: Literal["volumes", "shared"] = Field(
        default="volumes",
        description="A volume for each person, or one file system for all (CephFS, NFS)",
    )
    storage_class: str | None = Field(
        default=None, description="Of volumes; the cluster's default when not given"
    )
    capacity_bytes: int = Field(
        default=10 * 1000**3, ge=10**6, description="Size of each person's volume"
    )
    claim: DnsName | None = Field(
        default=None, description="Claim (PVC, ReadWriteMany) of the shared file system"
    )
    homes_path: str = Field(default="homes", description="Homes in the shared file system")
    groups_path: str = Field(default="groups", description="Group folders in it")

    @model_validator(mode="after")
    def _claim_where_shared(self) -> Self:
        if (self.kind == "shared") != (self.claim is not None):
            raise ValueError("claim names the shared file system: give it where kind is shared")
        return self


class MachineSettings(Section):
    """The cluster's machines for people's servers."""

    new_machine_seconds: int = Field(
        default=240, ge=1, description="How long a new one takes, until it was measured"
    )
    lost_after_seconds: int = Field(
        default=300,
        ge=0,
        description="For how long one may be silent until the servers on it are given up; the "
        "cluster itself notices after 50 seconds",
    )
    placeholders: int = Field(
        default=0, ge=0, description="Free places of the preset size that are always kept ready"
    )
    only_for_servers: bool = Field(
        default=False,
        description="Servers run only on machines labelled hub.jupyter.org/node-purpose=user",
    )


class EntrySettings(Section):
    """How people's requests reach the proxy in the cluster."""

    kind: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Kind of Service; NodePort with an nginx in front"
    )
    node_port: int | None = Field(
        default=None, ge=1, le=65535, description="TCP port on every machine, for NodePort"
    )


class InsideDatabaseSettings(Section):
    """PostgreSQL in the cluster, where ``database.url`` names no other."""

    capacity_bytes: int = Field(default=10 * 1000**3, ge=10**8, description="Size of its volume")
    storage_class: str | None = Field(
        default=None, description="Of its volume; the cluster's default when not given"
    )


class BackupSettings(Section):
    """Backups of the database and of the hub, made on the cluster."""

    enabled: bool = Field(default=True, description="Make them, and be able to restore them")
    schedule: str = Field(
        default="17 2 * * *",
        pattern=r"^(\S+ \S+ \S+ \S+ \S+|@(yearly|monthly|weekly|daily|hourly))$",
        description="When, as cron writes it, in UTC",
    )
    keep: int = Field(default=14, ge=1, le=1000, description="How many are kept")
    capacity_bytes: int = Field(
        default=20 * 1000**3, ge=10**8, description="Size of the volume that holds them"
    )
    storage_class: str | None = Field(
        default=None, description="Of that volume; the cluster's default when not given"
    )
    claim: DnsName | None = Field(
        default=None,
        description="Claim (PVC) that is there already and holds them, best on storage elsewhere",
    )


class WatchingSettings(Section):
    """The cluster's Prometheus and Grafana."""

    namespace: DnsName = Field(
        default="monitoring", description="Where Prometheus runs: it may ask hub and service"
    )
    operator: bool = Field(
        default=False,
        description="Make ServiceMonitors and a PrometheusRule, for the Prometheus operator",
    )
    labels: dict[str, str] = Field(
        default={}, description="Labels by which that Prometheus finds them, such as release"
    )
    dashboard: bool = Field(
        default=False, description="Make a ConfigMap with the dashboard, for Grafana's sidecar"
    )


class ClusterSettings(Section):
    """A Kubernetes cluster; not needed on one machine."""

    context: str | None = Field(
        default=None, description="Context of kubectl; deploy refuses any other"
    )
    server: str | None = Field(
        default=None,
        pattern=r"^https://\S+$",
        description="Address of the cluster's API, which must be the context's",
    )
    namespace: DnsName = Field(default="dachub", description="Where everything is installed")
    release: DnsName = Field(default="dachub", description="Name of our own Helm release")
    replicas: int = Field(default=2, ge=1, le=20, description="Pods of the service")
    start_timeout_seconds: int = Field(
        default=900, ge=30, description="A server that is not ready by then has failed"
    )
    images: ImageSettings = Field(default=ImageSettings(), description="Container images")
    homes: HomeSettings = Field(default=HomeSettings(), description="Where people's homes are")
    machines: MachineSettings = Field(
        default=MachineSettings(), description="Machines for people's servers"
    )
    entry: EntrySettings = Field(
        default=EntrySettings(), description="How people's requests reach the proxy"
    )
    database: InsideDatabaseSettings = Field(
        default=InsideDatabaseSettings(),
        description="PostgreSQL in the cluster, where database.url names no other",
    )
    backup: BackupSettings = Field(
        default=BackupSettings(), description="Backups of the database and of the hub"
    )
    watching: WatchingSettings = Field(
        default=WatchingSettings(), description="The cluster's Prometheus and Grafana"
    )
    hub: HubChartSettings = Field(
        default=HubChartSettings(), description="The Zero to JupyterHub chart beside ours"
    )
    values: dict[str, Any] = Field(
        default={}, description="Values for our own chart, merged over those that dachub makes"
    )
