"""Values for an unmodified Zero to JupyterHub, chart 4 and 5.

Names in them are of that chart: https://z2jh.jupyter.org/en/stable/resources/reference.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from dachub.config import ConfigurationError, Settings, merged
from dachub.deploy.images import divided, environments, image_name, image_tag, offered_images
from dachub.hub.settings import HubSettings, PodSettings

SECRET = "dachub"  # noqa: S105  a name
SITE_SECRET = "dachub-site"  # noqa: S105  a name
OUTBOX_CLAIM = "dachub-outbox"
STATE = "/var/lib/dachub"
SETTINGS_FILE = "/usr/local/etc/dachub/hub.json"
EXTRA_CONFIG = "import dachub.hub\ndachub.hub.configure(c)\n"
SERVICE_PODS = {"app.kubernetes.io/name": "dachub", "app.kubernetes.io/component": "service"}
SERVICE_PORT = 8080
HOME = "/home/jovyan"
# A token of 8 kB beside large cookies; Node takes 16 kB of all headers.
LONG_HEADERS = "--max-http-header-size=65536"

_UNITS = (("T", 1000**4), ("G", 1000**3), ("M", 1000**2), ("k", 1000))

Values = dict[str, Any]


def public_url(settings: Settings) -> str:
    """Where people reach the platform.

    Raises
    ------
    ConfigurationError
        If the configuration does not say: on a cluster nothing else tells.
    """
    if settings.listen.public_url is None:
        raise ConfigurationError(
            "On a cluster listen.public_url must say what people type in their browser, such as "
            "https://dac.example.org."
        )
    return settings.listen.public_url.rstrip("/")


def quantity(size_bytes: int) -> str:
    """A size as Kubernetes writes it, not less than it is."""
    unit, bytes_of = next((pair for pair in _UNITS if size_bytes % pair[1] == 0), ("k", 1000))
    return f"{-(-size_bytes // bytes_of)}{unit}"


def hub_settings(settings: Settings) -> HubSettings:
    """What the hub plugin is told."""
    cluster, servers = settings.cluster, settings.servers
    homes = cluster.homes
    login = settings.login
    if login.openid is not None:  # a path of the operator's machine
        openid = login.openid.model_copy(update={"client_secret_file": None})
        login = login.model_copy(update={"openid": openid})
    return HubSettings(
        site=settings.site,
        login=login,
        servers=servers.model_copy(
            update={
                "environments": environments(settings),
                "start_timeout_seconds": cluster.start_timeout_seconds,
            }
        ),
        state_directory=STATE,
        service_url="http://dachub",
        public_url=public_url(settings),
        behind_proxy=True,
        pods=PodSettings(
            home=HOME,
            shared_claim=homes.claim,
            homes_path=homes.homes_path,
            groups_path=homes.groups_path,
            helper_image=f"{image_name(settings, 'hub')}:{image_tag(settings)}",
            new_machine_seconds=cluster.machines.new_machine_seconds,
            lost_after_seconds=cluster.machines.lost_after_seconds,
        ),
    )


def values(settings: Settings) -> Values:
    """Values of Zero to JupyterHub; the site's own win.

    Raises
    ------
    ConfigurationError
        If something is missing that a cluster needs.
    """
    ours = {
        "hub": _hub(settings),
        "proxy": _proxy(settings),
        "singleuser": _servers(settings),
        "scheduling": _scheduling(settings),
        "prePuller": _images(settings),
        "cull": _culling(settings),
    }
    return merged(ours, settings.cluster.hub.values)


def _hub(settings: Settings) -> Values:
    return {
        "image": _image(settings, "hub"),
        "extraConfig": {"dachub": EXTRA_CONFIG},
        "extraFiles": {
            "dachub.json": {
                "mountPath": SETTINGS_FILE,
                "data": hub_settings(settings).model_dump(mode="json", exclude_none=True),
            }
        },
        "extraEnv": {
            "DACHUB_HUB_SETTINGS": SETTINGS_FILE,
            "DACHUB_HUB_TOKEN": _secret(SECRET, "hub-token"),
            "DACHUB_SERVICE_TOKEN": _secret(SECRET, "service-token"),
            "DACHUB_METRICS_TOKEN": _secret(SECRET, "metrics-token"),
            **(
                {"DACHUB_OIDC_CLIENT_SECRET": _secret(SITE_SECRET, "oidc-client-secret")}
                if settings.login.openid is not None
                else {}
            ),
        },
        "extraVolumes": [
            {"name": "dachub-outbox", "persistentVolumeClaim": {"claimName": OUTBOX_CLAIM}}
        ],
        "extraVolumeMounts": [{"name": "dachub-outbox", "mountPath": STATE}],
        "networkPolicy": {"ingress": _from_prometheus(settings)},
        # Without a share of its own the hub stands still when people's servers want all there is.
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}},
    }


def _from_prometheus(settings: Settings) -> list[Values]:
    namespace = {
        "matchLabels": {"kubernetes.io/metadata.name": settings.cluster.watching.namespace}
    }
    return [{"from": [{"namespaceSelector": namespace}], "ports": [{"port": "http"}]}]


def _proxy(settings: Settings) -> Values:
    entry = settings.cluster.entry
    ports = {"http": entry.node_port} if entry.node_port is not None else {}
    return {
        "service": {"type": entry.kind, **({"nodePorts": ports} if ports else {})},
        "chp": {"extraEnv": {"NODE_OPTIONS": LONG_HEADERS}},
    }


def _servers(settings: Settings) -> Values:
    preset = settings.servers.sizes[0]
    reserved = preset.milli_cores / 1000
    return {
        "image": {
            **divided(next(iter(_offered(settings).values()))),
            "pullPolicy": settings.cluster.images.pull_policy,
            "pullSecrets": list(settings.cluster.images.pull_logins),
        },
        "startTimeout": settings.cluster.start_timeout_seconds,
        # Each start has the resources of its size; these are the placeholders'.
        "cpu": {"guarantee": reserved, "limit": reserved},
        "memory": {"guarantee": preset.memory_bytes, "limit": preset.memory_bytes},
        "storage": _storage(settings),
        # Network policies keep servers from the cloud's metadata without a privileged container.
        "cloudMetadata": {"blockWithIptables": False},
        "networkPolicy": {
            "egress": [
                {
                    "to": [{"podSelector": {"matchLabels": SERVICE_PODS}}],
                    "ports": [{"port": SERVICE_PORT}],
                }
            ]
        },
    }


def _storage(settings: Settings) -> Values:
    homes = settings.cluster.homes
    if homes.claim is not None:
        return {
            "type": "static",
            "homeMountPath": HOME,
            "static": {
                "pvcName": homes.claim,
                "subPath": f"{homes.homes_path}/{{unescaped_username}}",
            },
        }
    dynamic = {"storageClass": homes.storage_class} if homes.storage_class else {}
    return {
        "type": "dynamic",
        "homeMountPath": HOME,
        "capacity": quantity(homes.capacity_bytes),
        "dynamic": dynamic,
    }


def _scheduling(settings: Settings) -> Values:
    machines = settings.cluster.machines
    purpose = "require" if machines.only_for_servers else "prefer"
    return {
        # Servers are packed together, so that machines become empty.
        "userScheduler": {"enabled": True},
        "podPriority": {"enabled": machines.placeholders > 0},
        "userPlaceholder": {
            "enabled": machines.placeholders > 0,
            "replicas": machines.placeholders,
        },
        "userPods": {"nodeAffinity": {"matchNodePurpose": purpose}},
    }


def _images(settings: Settings) -> Values:
    """What every machine pulls before people come."""
    return {
        "extraImages": {
            re.sub("[^a-z0-9]+", "-", software): divided(image)
            for software, image in _offered(settings).items()
        }
    }


def _offered(settings: Settings) -> dict[str, str]:
    offered = offered_images(settings, datetime.now(UTC).date())
    if not offered:
        raise ConfigurationError(
            "Every version of every environment in servers.environments is retired: nobody could "
            "start a server."
        )
    return offered


def _culling(settings: Settings) -> Values:
    idle_seconds = settings.servers.idle_stop_seconds
    if idle_seconds is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "timeout": idle_seconds,
        "every": max(10, min(300, idle_seconds // 4)),
        "users": False,
    }


def _image(settings: Settings, name: str) -> Values:
    return {
        "name": image_name(settings, name),
        "tag": image_tag(settings),
        "pullPolicy": settings.cluster.images.pull_policy,
        "pullSecrets": list(settings.cluster.images.pull_logins),
    }


def _secret(name: str, key: str) -> Values:
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
