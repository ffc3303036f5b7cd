"""Settings of the hub plugin: its sections of ``dachub.yaml``, and the file it reads them from.

``dachub up`` and ``dachub deploy`` write :class:`HubSettings` as JSON; ``configure(c)`` reads
the file named by ``DACHUB_HUB_SETTINGS``. Secrets come by the environment: ``DACHUB_HUB_TOKEN``
(hub -> service), ``DACHUB_SERVICE_TOKEN`` (service -> hub), ``DACHUB_OIDC_CLIENT_SECRET``,
``CONFIGPROXY_AUTH_TOKEN``, ``JUPYTERHUB_CRYPT_KEY``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from dachub.model.settings import Section
from dachub.model.site import RESCUE_SIZE, Size
from dachub.model.software import NO_OWN_IMAGES, Environment, OwnImages

Preset = Literal["egi-check-in", "iris-iam", "keycloak", "generic"]


class EntryRule(Section):
    """Groups of the provider (``CAMPAIGN``, ``CAMPAIGN:SUBGROUP``) that let people in."""

    any_of: tuple[str, ...] = Field(default=(), description="At least one of these")
    all_of: tuple[str, ...] = Field(default=(), description="Every one of these")


class OpenIDSettings(Section):
    """An OpenID Connect provider. What a preset knows need not be given."""

    preset: Preset = Field(default="generic", description="Knows the claims of a kind of provider")
    issuer: str = Field(description="Its discovery is <issuer>/.well-known/openid-configuration")
    client_id: str = Field(description="Under which this site is registered with the provider")
    client_secret_file: Path | None = Field(
        default=None, description="File with the secret alone; or set DACHUB_OIDC_CLIENT_SECRET"
    )
    title: str | None = Field(default=None, description="On the login button")
    scopes: tuple[str, ...] | None = Field(default=None, description="What is asked for at login")
    username_claims: tuple[str, ...] | None = Field(
        default=None, description="Claims that suggest a username; the first that yields one counts"
    )
    name_claim: str | None = Field(default=None, description="Claim with the full name")
    email_claim: str | None = Field(default=None, description="Claim with the email address")
    affiliation_claims: tuple[str, ...] | None = Field(
        default=None, description="Claims with affiliations; all of them count"
    )
    groups_claims: tuple[str, ...] | None = Field(
        default=None,
        description="Claims with entitlements or group names; the first present counts",
    )
    groups_pattern: str | None = Field(
        default=None,
        description="Regular expression with the named groups 'group' and optionally 'role'",
    )
    pi_roles: tuple[str, ...] = Field(
        default=("pi", "owner"), description="Roles at the provider that mean PI here"
    )
    manager_roles: tuple[str, ...] = Field(
        default=("manager", "vm_operator", "admin"),
        description="Roles at the provider that mean manager here",
    )
    required_groups: EntryRule = Field(
        default=EntryRule(), description="Who is let in; everybody where both lists are empty"
    )
    administrator_groups: tuple[str, ...] = Field(
        default=(), description="Members of these groups of the provider administer dachub"
    )
    request_timeout_seconds: float = Field(
        default=10, gt=0, le=60, description="How long an answer of the provider may take"
    )

    @field_validator("issuer")
    @classmethod
    def _not_to_be_impersonated(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        near = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if not parts.hostname or parts.scheme not in ({"http", "https"} if near else {"https"}):
            raise ValueError("issuer must be an https address: it says who people are")
        return issuer

    @field_validator("groups_pattern")
    @classmethod
    def _usable_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                names = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"groups_pattern is no regular expression: {error}") from error
            if "group" not in names:
                raise ValueError("groups_pattern needs a part (?P<group>...)")
        return pattern


class LoginSettings(Section):
    """Who may log in, and how."""

    openid: OpenIDSettings | None = Field(default=None, description="A provider of identities")
    local_accounts: bool = Field(default=True, description="For trials and emergencies")
    refresh_seconds: int = Field(default=300, ge=30, description="How often claims are read again")
    attempts_per_minute: int = Field(default=10, ge=1, description="Password attempts per person")


class RescueSettings(Section):
    """Sessions in which people make room, where their home is full or over its quota."""

    milli_cores: int = Field(
        default=500, gt=0, le=1_024_000, description="Computing power of a rescue session"
    )
    memory_bytes: int = Field(default=1024**3, gt=0, description="Memory of a rescue session")
    limit_seconds: int = Field(
        default=3600, ge=10, description="A rescue session ends after this, come what may"
    )
    free_bytes_min: int = Field(
        default=16 * 1024**2, ge=0, description="A home with less room than this counts as full"
    )
    free_files_min: int = Field(
        default=100, ge=0, description="A home with room for fewer files than this counts as full"
    )
    scratch_directories: tuple[Path, ...] = Field(
        default=(Path("/dev/shm"), Path("/run"), Path("/tmp")),  # noqa: S108  a name of our own there
        min_length=1,
        description="Where a rescue session may write; the first with room outside of the home",
    )

    @property
    def size(self) -> Size:
        """Its size, which is charged like any."""
        return Size(
            name=RESCUE_SIZE,
            title="Rescue",
            milli_cores=self.milli_cores,
            memory_bytes=self.memory_bytes,
        )


class ServerSettings(Section):
    """Users' servers."""

    survive_hub_restart: bool = Field(
        default=True, description="Users' servers outlive a restart of the hub"
    )
    idle_stop_seconds: int | None = Field(
        default=7200, ge=10, description="Idle servers are stopped after this; null: never"
    )
    start_timeout_seconds: int = Field(
        default=120, ge=10, description="A server that is not ready by then has failed"
    )
    queue_seconds: int = Field(
        default=8 * 3600,
        ge=10,
        description="A server that waits for its turn for longer is given up",
    )
    heartbeat_seconds: int = Field(
        default=10, ge=1, description="How often running servers are looked at"
    )
    when_service_is_down: Literal["allow", "deny"] = Field(
        default="allow", description="Start servers while the accounting service does not answer"
    )
    sizes: tuple[Size, ...] = Field(
        default=(
            Size(name="small", title="Small", milli_cores=1000, memory_bytes=2 * 1024**3),
            Size(name="tiny", title="Tiny", milli_cores=250, memory_bytes=512 * 1024**2),
            Size(name="large", title="Large", milli_cores=4000, memory_bytes=8 * 1024**3),
        ),
        min_length=1,
        description="Sizes people choose from; the first is preset",
    )
    rescue: RescueSettings = Field(
        default=RescueSettings(), description="Sessions in which people make room"
    )
    environments: tuple[Environment, ...] = Field(
        default=(
            Environment(
                name="astronomy",
                title="Astronomy",
                description="JupyterLab with astropy, numpy, scipy, matplotlib, pandas and pyvo",
                modules=("astropy", "numpy", "scipy", "matplotlib", "pandas", "pyvo"),
            ),
        ),
        min_length=1,
        description="Software people choose from; the first is preset",
    )
    own_images: OwnImages = Field(
        default=NO_OWN_IMAGES, description="Images that people may bring by name, on Kubernetes"
    )
    retirement_notice_days: int = Field(
        default=30, ge=0, description="So long before it people are told that a version goes"
    )

    @property
    def activity_seconds(self) -> int:
        """How often activity is looked at: so often that what is in use is not taken for idle."""
        idle_seconds = self.idle_stop_seconds
        return 300 if idle_seconds is None else min(300, idle_seconds // 4)

    @field_validator("sizes")
    @classmethod
    def _rescue_is_no_choice(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        if any(size.name == RESCUE_SIZE for size in sizes):
            raise ValueError(f"the name '{RESCUE_SIZE}' is taken: see servers.rescue")
        return sizes

    @field_validator("environments")
    @classmethod
    def _told_apart(cls, environments: tuple[Environment, ...]) -> tuple[Environment, ...]:
        names = [environment.name for environment in environments]
        if len(set(names)) < len(names):
            raise ValueError("two environments have the same name")
        return environments


class SiteSettings(Section):
    """What the site calls itself and whom people ask."""

    name: str = Field(default="dachub", description="On pages and in messages")
    contact: str = Field(default="your administrator", description="Name or address people ask")
    help_url: str | None = Field(default=None, description="Where people find help")
    acceptable_use_url: str | None = Field(default=None, description="The rules people accept")


class MachineSettings(Section):
    """One machine: who listens where, and how servers run; written by ``dachub up``."""

    bind_url: str = Field(description="Where the proxy listens")
    hub_port: int
    proxy_api_port: int
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    homes: Path
    group_links: Path | None = Field(
        default=None, description="Where each person finds the folders of their groups, by username"
    )
    unix_accounts: bool = Field(description="Each person has a Unix account of their own (as root)")
    command: tuple[str, ...] = Field(
        # -P: a random.py in somebody's home is not to stand for Python's own.
        default=("-P", "-m", "jupyterhub.singleuser"),
        description="Arguments for the environment's Python",
    )
    log_directory: Path


class PodSettings(Section):
    """A cluster: how servers run as pods beside what Zero to JupyterHub says of them.

    Written by ``dachub deploy``.
    """

    command: tuple[str, ...] = Field(
        default=("python", "-m", "dachub.client.start"),
        description="What an image of ours starts with",
    )
    plain_command: tuple[str, ...] = Field(
        default=("jupyterhub-singleuser",), description="What any other image starts with"
    )
    home: str = Field(default="/home/jovyan", description="Where the home is mounted")
    shared_claim: str | None = Field(
        default=None, description="Claim of the file system with all homes and group folders"
    )
    homes_path: str = Field(default="homes", description="Homes in the shared file system")
    groups_path: str = Field(default="groups", description="Group folders in it")
    helper_image: str | None = Field(
        default=None, description="Image of ours that makes directories in the shared file system"
    )
    new_machine_seconds: int = Field(
        default=240, ge=1, description="How long a new machine takes, until it was measured"
    )
    lost_after_seconds: int = Field(
        default=300, ge=0, description="For how long a machine may be silent until it is given up"
    )
    gpu_resource: str = Field(default="nvidia.com/gpu", description="What a GPU is called")


class HubSettings(Section):
    """All that the hub plugin needs; the content of ``DACHUB_HUB_SETTINGS``.

    Where servers run is either one machine or a cluster.
    """

    site: SiteSettings = SiteSettings()
    login: LoginSettings = LoginSettings()
    servers: ServerSettings = ServerSettings()
    state_directory: Path = Field(description="Outbox and the hub's own database; mode 0700")
    service_url: str = Field(description="Where the dachub service listens, without a path")
    public_url: str = Field(description="Where people reach the hub")
    behind_proxy: bool = Field(
        default=False, description="All come through a proxy in front, which says who they are"
    )
    log_file: Path | None = Field(default=None, description="ECS JSON; the terminal gets text")
    log_days: int | None = Field(default=None, description="How long older files of logs are kept")
    machine: MachineSettings | None = None
    pods: PodSettings | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.machine is None) == (self.pods is None):
            raise ValueError("servers run on one machine or as pods: give machine or pods")
        return self
