"""``dachub.yaml``: one validated tree, composed of the packages' own sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dachub.accounting.settings import QuotaSettings
from dachub.directory.settings import DirectorySettings
from dachub.hub.settings import LoginSettings, ServerSettings, SiteSettings
from dachub.model.settings import Section


class ListenSettings(Section):
    """Where the platform listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str | None = Field(default=None, description="What people type, behind a proxy")
    behind_proxy: bool = Field(
        default=False, description="A proxy in front does TLS; without it, TLS is needed here"
    )


class TLSSettings(Section):
    """Certificate and key for listening beyond loopback."""

    certificate: Path | None = None
    key: Path | None = None


class DatabaseSettings(Section):
    """The service's PostgreSQL (>= 15); an embedded one where no URL is given."""

    url: str | None = Field(default=None, description="postgresql://user@host/database")
    password_file: Path | None = None


class LogSettings(Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole of ``dachub.yaml``."""

    site: SiteSettings = SiteSettings()
    listen: ListenSettings = ListenSettings()
    tls: TLSSettings = TLSSettings()
    database: DatabaseSettings = DatabaseSettings()
    login: LoginSettings = LoginSettings()
    servers: ServerSettings = ServerSettings()
    directory: DirectorySettings = DirectorySettings()
    quota: QuotaSettings = QuotaSettings()
    logs: LogSettings = LogSettings()
