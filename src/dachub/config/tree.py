"""The tree of settings: ``dachub.yaml``, composed of the packages' own sections.

Secrets are never in it: they come from a file that it names, or from the environment.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from dachub.cluster.edge import NginxSettings
from dachub.cluster.logs import LogSettings
from dachub.cluster.settings import ClusterSettings
from dachub.directory.settings import DirectorySettings
from dachub.hub.settings import LoginSettings, ServerSettings, SiteSettings
from dachub.model.logs import LogKind
from dachub.model.problems import DachubError
from dachub.model.settings import Section, is_loopback
from dachub.notices.settings import MailSettings
from dachub.privacy.settings import PrivacySettings
from dachub.quota.settings import QuotaSettings
from dachub.reports.settings import ReportSettings
from dachub.storage.settings import StorageSettings

DATABASE_URL = "DACHUB_DATABASE_URL"
DATABASE_PASSWORD = "DACHUB_DATABASE_PASSWORD"  # noqa: S105  the variable's name
OPENID_CLIENT_SECRET = "DACHUB_OIDC_CLIENT_SECRET"  # noqa: S105  the variable's name
SMTP_PASSWORD = "DACHUB_SMTP_PASSWORD"  # noqa: S105  the variable's name
LOGS_PASSWORD = "DACHUB_LOGS_PASSWORD"  # noqa: S105  the variable's name
METRICS_TOKEN = "DACHUB_METRICS_TOKEN"  # noqa: S105  the variable's name


class ConfigurationError(DachubError):
    """The configuration cannot be used; the message names every fault in it."""

    code = "configuration-invalid"


class PlainHTTPRefused(ConfigurationError):
    """Passwords would cross a network unencrypted."""

    code = "plain-http-refused"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; a network is written as 10.0.0.0/8") from error


class ListenSettings(Section):
    """Where the platform listens."""

    host: str = Field(default="127.0.0.1", description="Address; beyond loopback TLS is needed")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+/?$",
        description="What people type in their browser, where a proxy stands in front",
    )
    behind_proxy: bool = Field(
        default=False, description="A proxy in front does TLS; without it, TLS is needed here"
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Networks of the proxies whom the service believes for whom they ask, and "
        "whether that was over TLS (X-Forwarded-For, X-Forwarded-Proto)",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return is_loopback(self.host)


class TLSSettings(Section):
    """Certificate and key for listening beyond loopback."""

    certificate: Path | None = Field(default=None, description="PEM file with the whole chain")
    key: Path | None = Field(default=None, description="PEM file, not encrypted, mode 0600")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        return self


class DatabaseSettings(Section):
    """The service's PostgreSQL (>= 15); an embedded one where no URL is given."""

    url: str | None = Field(
        default=None,
        pattern=r"^postgresql://",
        description="postgresql://user@host/database; the password comes from password_file "
        f"or {DATABASE_PASSWORD}. A URL with its password in {DATABASE_URL} wins over both",
    )
    password_file: Path | None = Field(default=None, description="File with the password alone")

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.url is not None and urlsplit(self.url).password is not None:
            raise ValueError(
                f"url must not carry the password: put it into password_file or {DATABASE_PASSWORD}"
            )
        return self


class MetricsSettings(Section):
    """Figures for Prometheus, at /services/dac/metrics."""

    token_file: Path | None = Field(
        default=None,
        description="File with the token that Prometheus shows, of 16 characters or more; else "
        f"{METRICS_TOKEN}. Administrators may look without it",
    )


class SyntheticSettings(Section):
    """Made-up people, groups and weeks of work, for an instance to develop and show things on."""

    people: int = Field(default=20, ge=1, le=200, description="synthetic-000 and so on")
    groups: int = Field(default=4, ge=1, le=20, description="Each with a PI and an allocation")
    weeks: int = Field(default=6, ge=0, le=26, description="How long they have worked already")
    seed: int = Field(default=1, description="The same seed makes the same work")
    instance: str | None = Field(
        default=None, description="The instance they belong to; dachub itself fills it in"
    )

    @model_validator(mode="after")
    def _of_an_instance(self) -> Self:
        if self.instance is None:
            raise ValueError("made-up people are only for an instance: under instances.NAME")
        return self


class Settings(Section):
    """The whole of ``dachub.yaml``."""

    site: SiteSettings = SiteSettings()
    listen: ListenSettings = ListenSettings()
    tls: TLSSettings = TLSSettings()
    nginx: NginxSettings = NginxSettings()
    database: DatabaseSettings = DatabaseSettings()
    login: LoginSettings = LoginSettings()
    servers: ServerSettings = ServerSettings()
    directory: DirectorySettings = DirectorySettings()
    quota: QuotaSettings = QuotaSettings()
    mail: MailSettings | None = None
    metrics: MetricsSettings = MetricsSettings()
    storage: StorageSettings = StorageSettings()
    privacy: PrivacySettings = PrivacySettings()
    reports: ReportSettings = ReportSettings()
    logs: LogSettings = LogSettings()
    cluster: ClusterSettings = ClusterSettings()
    synthetic: SyntheticSettings | None = None

    @model_validator(mode="after")
    def _synthetic_people_can_log_in(self) -> Self:
        if self.synthetic is not None and not self.login.local_accounts:
            raise ValueError("synthetic people have local accounts: set login.local_accounts")
        return self

    @model_validator(mode="after")
    def _forgets_in_time(self) -> Self:
        """What is shipped is kept no longer than privacy allows."""
        for kind in LogKind:
            given, allowed = self.logs.retention_days.of(kind), self._log_days_max(kind)
            if given is not None and allowed is not None and given > allowed:
                name = "audit_days" if kind is LogKind.AUDIT else "logs_days"
                raise ValueError(
                    f"logs.retention_days.{kind} is {given}, but privacy.{name} allows {allowed} "
                    "days: lines hold usernames"
                )
        return self

    def log_days(self, kind: LogKind) -> int | None:
        """How long a store keeps lines of a kind; ``None`` for ever."""
        given = self.logs.retention_days.of(kind)
        return self._log_days_max(kind) if given is None else given

    def _log_days_max(self, kind: LogKind) -> int | None:
        return self.privacy.audit_days if kind is LogKind.AUDIT else self.privacy.logs_days

    def require_safe_listening(self) -> None:
        """Refuse plain HTTP beyond this machine.

        Raises
        ------
        PlainHTTPRefused
            Unless there is TLS, or a proxy in front was declared.
        """
        if self.listen.is_loopback or self.listen.behind_proxy or self.tls.certificate is not None:
            return
        raise PlainHTTPRefused(
            f"Listening on {self.listen.host} without TLS would send passwords over the network "
            "in the clear. Set tls.certificate and tls.key; or, where a proxy in front does TLS, "
            "set listen.behind_proxy: true; or listen on 127.0.0.1."
        )
