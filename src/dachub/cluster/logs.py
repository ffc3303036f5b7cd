"""The section ``logs`` of ``dachub.yaml``: what is logged, where it is searched, for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dachub.model.logs import LogKind
from dachub.model.settings import Section

_AS_PRIVACY = "privacy.logs_days when not given"


class LogRetentionSettings(Section):
    """Days until lines are deleted from the store, by kind; never more than `privacy` allows."""

    service: int | None = Field(
        default=None, ge=1, description=f"Requests and faults of the service; {_AS_PRIVACY}"
    )
    hub: int | None = Field(default=None, ge=1, description=f"The hub's; {_AS_PRIVACY}")
    proxy: int | None = Field(default=None, ge=1, description=f"The hub's proxy's; {_AS_PRIVACY}")
    servers: int | None = Field(
        default=None, ge=1, description=f"Starts and ends of people's servers; {_AS_PRIVACY}"
    )
    database: int | None = Field(default=None, ge=1, description=f"PostgreSQL's; {_AS_PRIVACY}")
    audit: int | None = Field(
        default=None, ge=1, description="The audit log; privacy.audit_days when not given"
    )

    def of(self, kind: LogKind) -> int | None:
        """What is given for a kind."""
        days: int | None = getattr(self, kind.value)
        return days


class LogStoreSettings(Section):
    """An OpenSearch or Elasticsearch in which logs are searched."""

    kind: Literal["opensearch", "elasticsearch"] = Field(
        default="opensearch", description="They differ in how they delete what is old"
    )
    url: str = Field(pattern=r"^https?://[^/\s@]+/?$", description="Its REST API")
    username: str | None = Field(
        default=None, description="Account that may make templates and policies"
    )
    password_file: Path | None = Field(
        default=None, description="File with its password alone; or set DACHUB_LOGS_PASSWORD"
    )
    ca_file: Path | None = Field(
        default=None,
        description="Authority that signed its certificate, where the system knows it not",
    )
    dashboards_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="OpenSearch Dashboards or Kibana, which get searches and a dashboard",
    )
    prefix: str = Field(
        default="dachub",
        pattern=r"^[a-z][a-z0-9-]{0,40}$",
        description="How names of indices begin; each instance needs its own",
    )
    replicas: int = Field(default=1, ge=0, le=5, description="Further copies of each index")


class LogSettings(Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severity that is logged"
    )
    retention_days: LogRetentionSettings = Field(
        default=LogRetentionSettings(), description="How long the store keeps lines, by kind"
    )
    store: LogStoreSettings | None = Field(
        default=None, description="Where logs of a cluster are searched"
    )
