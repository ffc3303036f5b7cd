"""Our own chart: where it lies, and its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dachub.config import (
    DATABASE_SECRET,
    OPENID_SECRET,
    SMTP_SECRET,
    ConfigurationError,
    Settings,
    merged,
)
from dachub.deploy.images import image_tag
from dachub.deploy.z2jh import public_url, quantity
from dachub.model.settings import Section

# Proxies in the cluster, and a load balancer or nginx beside it, have addresses of these networks.
INSIDE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SHARED_MOUNT = "/srv/dachub"
# Sections that only say where things are on the operator's machine, or what the chart says itself.
NOT_FOR_PODS = {"cluster", "tls", "database", "nginx"}
PLACES = {"homes", "groups", "group_links", "state"}


def chart_path() -> Path:
    """The chart: in the installed package, else in the sources.

    Raises
    ------
    ConfigurationError
        If it is in neither.
    """
    here = Path(__file__).parent
    for path in (here / "chart", here.parents[2] / "deploy" / "chart"):
        if (path / "Chart.yaml").exists():
            return path
    raise ConfigurationError("This installation of dachub lacks its Helm chart: install it anew.")


def values(settings: Settings) -> dict[str, Any]:
    """Values of our chart; the site's own win.

    Raises
    ------
    ConfigurationError
        If something is missing that a cluster needs.
    """
    cluster = settings.cluster
    ours: dict[str, Any] = {
        "config": site_configuration(settings),
        "image": {
            "registry": cluster.images.registry,
            "tag": image_tag(settings),
            "pullPolicy": cluster.images.pull_policy,
            "pullSecrets": list(cluster.images.pull_logins),
        },
        "replicas": cluster.replicas,
        "hub": {"publicUrl": public_url(settings)},
        "database": _database(settings),
        "backup": _backup(settings),
        "metrics": _metrics(settings),
    }
    if cluster.homes.claim is not None:
        ours["storage"] = {
            "enabled": True,
            "claim": cluster.homes.claim,
            "mountPath": SHARED_MOUNT,
        }
    elif settings.storage.method == "volumes":
        ours["storage"] = {"enabled": True, "kind": "volumes"}
    if settings.logs.store is not None:
        ours["logging"] = {"prefix": settings.logs.store.prefix}
    return merged(ours, cluster.values)


def site_configuration(settings: Settings) -> dict[str, Any]:
    """``dachub.yaml`` as the service's pods read it: what was given, without files of secrets."""
    given: dict[str, Any] = settings.model_dump(
        mode="json", exclude=NOT_FOR_PODS, exclude_unset=True
    )
    given["listen"] = {
        "host": "0.0.0.0",  # noqa: S104  in a pod, behind network policies
        "behind_proxy": True,
        "public_url": public_url(settings),
        "trusted_proxies": list(INSIDE),
        **{
            key: value
            for key, value in given.get("listen", {}).items()
            if key not in {"host", "port", "public_url", "behind_proxy"}
        },
    }
    homes = settings.cluster.homes
    storage = {key: value for key, value in given.get("storage", {}).items() if key not in PLACES}
    if homes.claim is not None:
        storage["homes"] = f"{SHARED_MOUNT}/{homes.homes_path}"
        storage["groups"] = f"{SHARED_MOUNT}/{homes.groups_path}"
    given["storage"] = storage
    told = _without_secret_files(settings, given)
    return {section: content for section, content in told.items() if content}


def _without_secret_files(section: Section, tree: dict[str, Any]) -> dict[str, Any]:
    """The tree less what names files with secrets; pods have them from the environment."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        below = getattr(section, key, None)
        if isinstance(below, Section) and isinstance(value, dict):
            value = _without_secret_files(below, value)
        if not key.endswith(("password_file", "secret_file", "token_file")):
            kept[key] = value
    return kept


def _database(settings: Settings) -> dict[str, Any]:
    if settings.database.url is not None:
        return {"kind": "outside", "outside": {"url": settings.database.url}}
    inside = settings.cluster.database
    volume = {"size": quantity(inside.capacity_bytes)}
    if inside.storage_class is not None:
        volume["storageClass"] = inside.storage_class
    return {"kind": "inside", "inside": {"volume": volume}}


def _backup(settings: Settings) -> dict[str, Any]:
    backup = settings.cluster.backup
    volume = {"size": quantity(backup.capacity_bytes)}
    if backup.storage_class is not None:
        volume["storageClass"] = backup.storage_class
    if backup.claim is not None:
        volume["existingClaim"] = backup.claim
    wanted = {
        "enabled": backup.enabled,
        "schedule": backup.schedule,
        "keep": backup.keep,
        "volume": volume,
    }
    database = settings.cluster.hub.values.get("hub", {}).get("db", {})
    if database.get("type", "sqlite-pvc") != "sqlite-pvc":
        wanted["hubDatabase"] = {"claim": ""}  # it is a server's, and that one's to back up
    elif path := database.get("pvc", {}).get("subPath"):
        wanted["hubDatabase"] = {"subPath": path}
    return wanted


def _metrics(settings: Settings) -> dict[str, Any]:
    watching = settings.cluster.watching
    read_by_operator = {"enabled": watching.operator, "labels": watching.labels}
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": watching.namespace}}
    return {
        "serviceMonitor": read_by_operator,
        "rules": read_by_operator,
        "dashboard": {"enabled": watching.dashboard},
        "from": [{"namespaceSelector": namespace}],
    }


def site_secrets(settings: Settings) -> dict[str, str]:
    """What the site has from others, as far as this machine has it, by its key in the Secret.

    Raises
    ------
    ConfigurationError
        If a file that the configuration names cannot be read.
    """
    wanted = {
        "database-password": DATABASE_SECRET,
        "oidc-client-secret": OPENID_SECRET,
        "smtp-password": SMTP_SECRET,
    }
    found = {key: named.read(settings) for key, named in wanted.items()}
    return {key: secret for key, secret in found.items() if secret}
