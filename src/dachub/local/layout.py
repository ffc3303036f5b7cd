"""The data directory: where everything lies, who may read it, and the secrets in it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from dachub.infra.files import write_private

SECRETS = (
    "hub-token",
    "service-token",
    "proxy-token",
    "crypt-key",
    "cookie-secret",
    "portal-secret",
    "database-password",
    "database-superuser-password",
)
ROOT_DATA = Path("/var/lib/dachub")


def default_data_directory() -> Path:
    """``DACHUB_DATA``, else ``/var/lib/dachub`` for root, ``~/.local/share/dachub`` for others."""
    if named := os.environ.get("DACHUB_DATA"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return ROOT_DATA
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "dachub"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one data directory.

    Attributes
    ----------
    config_file, outbox_file, hub_database_file
        The configuration and the hub's files, where they do not lie in the data directory.
    """

    data: Path
    config_file: Path | None = None
    outbox_file: Path | None = None
    hub_database_file: Path | None = None

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.config_file or self.data / "dachub.yaml"

    @property
    def is_borrowed(self) -> bool:
        """Whether others made what lies there, as in a pod: nothing but a backup is ours then."""
        return self.config_file is not None

    @property
    def admin_password(self) -> Path:
        """The first administrator's first password; there until it is changed."""
        return self.data / "admin-password"

    @property
    def secrets(self) -> Path:
        """One file a secret."""
        return self.data / "secrets"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's own; belongs to its account."""
        return self.data / "postgres"

    @property
    def hub(self) -> Path:
        """State of the hub."""
        return self.data / "hub"

    @property
    def outbox(self) -> Path:
        """Events of the hub that the ledger has not confirmed yet."""
        return self.outbox_file or self.hub / "outbox.sqlite"

    @property
    def hub_database(self) -> Path:
        """JupyterHub's own: who runs what."""
        return self.hub_database_file or self.hub / "jupyterhub.sqlite"

    @property
    def restoring(self) -> Path:
        """There from the first change of a restore to its last: names the backup."""
        return self.data / "restore-unfinished"

    @property
    def homes(self) -> Path:
        """Homes of the people."""
        return self.data / "homes"

    @property
    def logs(self) -> Path:
        """Logs of all parts."""
        return self.data / "logs"

    @property
    def server_logs(self) -> Path:
        """Logs of users' servers."""
        return self.logs / "servers"

    @property
    def run(self) -> Path:
        """What only means something while the platform runs."""
        return self.data / "run"

    @property
    def lock(self) -> Path:
        """Held by the one ``dachub up`` of this directory."""
        return self.run / "up.lock"

    @property
    def control_socket(self) -> Path:
        """Of supervisord."""
        return self.run / "supervisord.sock"

    @property
    def endpoints(self) -> Path:
        """Ports and addresses in use."""
        return self.run / "endpoints.json"

    def create(self) -> None:
        """Make what is missing and set every mode; what is there stays.

        Where each person has an account of their own, others may pass through (0711) the data
        directory and the homes, to reach their own home, and look into nothing.
        """
        for directory in (self.data, self.homes):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for directory in (self.secrets, self.hub, self.logs, self.server_logs, self.run):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o700)
        self.postgres.mkdir(mode=0o700, exist_ok=True)

    def create_secrets(self) -> None:
        """Draw the secrets that are not there yet."""
        for name in SECRETS:
            if not (self.secrets / name).exists():
                # Hexadecimal, because the hub wants its cookie secret and its crypt key so.
                write_private(self.secrets / name, secrets.token_hex(32) + "\n")

    def secret(self, name: str) -> str:
        """One of the secrets."""
        return (self.secrets / name).read_text(encoding="ascii").strip()
