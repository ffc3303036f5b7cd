"""Settings of the nginx that stands in front: on the same machine, or before a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dachub.model.settings import Section

ACCEPTABLE_USE_PATH = "/static/acceptable-use.html"
"""Where nginx shows the site's rules."""

MachinePath = Annotated[str, Field(pattern=r"^/[\w./+-]+$")]
"""A path on nginx's machine, of characters that mean nothing in its configuration."""

Upstream = Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")]


class NginxSettings(Section):
    """An nginx in front, as `dachub deploy nginx` writes it; paths are those of its machine."""

    upstreams: tuple[Upstream, ...] = Field(
        default=(),
        description="Where it finds the platform (host:port), on a cluster the node port of "
        "several nodes; none: the platform of this file, on the same machine",
    )
    directory: MachinePath = Field(
        default="/etc/nginx/dachub", description="Where what is written will lie"
    )
    certificate: MachinePath = Field(
        default="/etc/nginx/dachub/certificate.pem", description="PEM file with the whole chain"
    )
    key: MachinePath = Field(
        default="/etc/nginx/dachub/key.pem", description="PEM file, not encrypted, mode 0600"
    )
    acme_directory: MachinePath | None = Field(
        default=None,
        description="Served under /.well-known/acme-challenge over HTTP, for certificates that "
        "renew themselves",
    )
    http_port: int = Field(
        default=80, ge=1, le=65535, description="Leads everybody to listen.public_url"
    )
    https_port: int = Field(default=443, ge=1, le=65535, description="TCP port with TLS")
    hsts_seconds: int = Field(
        default=63_072_000,
        ge=0,
        description="So long browsers insist on TLS here; 0: they are not told to",
    )
    acceptable_use_file: Path | None = Field(
        default=None,
        description="The site's rules, plain text or (.html) a part of a page; shown under "
        f"{ACCEPTABLE_USE_PATH}, which the login page links unless site.acceptable_use_url is set. "
        "A relative path counts from this file",
    )
    upload_bytes_max: int = Field(
        default=1024**3, ge=1024**2, description="What one request to a person's server may send"
    )
    header_bytes_max: int = Field(
        default=32 * 1024,
        ge=8 * 1024,
        le=60 * 1024,
        description="The longest single header: a token, or all cookies",
    )
    idle_seconds_max: int = Field(
        default=86_400,
        ge=60,
        description="How long a connection to a person's server may be silent",
    )
    sign_ins_per_minute: int = Field(
        default=60, ge=1, description="Passwords tried from one address, which many may share"
    )
    connections_max: int = Field(
        default=16_384,
        ge=512,
        description="Of each of its processes; an open JupyterLab takes about 10, to both sides",
    )
    log_file: MachinePath = Field(
        default="/var/log/nginx/dachub.log", description="ECS JSON, one line a request, no queries"
    )
