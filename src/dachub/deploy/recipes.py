"""What images are made of: which ones a site has, their Containerfiles, and kaniko's Job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dachub import __version__
from dachub.cluster.settings import ImageSettings
from dachub.config import Settings
from dachub.deploy.builders import EPOCH, Recipe
from dachub.deploy.images import environments, image_name, image_tag
from dachub.model.problems import InvalidInput, NotFound

LOCKS = {
    5: ("requirements/hub.txt", "requirements/user-5.txt"),
    6: ("requirements/hub-6.txt", "requirements/user.txt"),
}
"""Of the hub and of its servers by JupyterHub's generation, which must be the same in both."""
KANIKO_IMAGE = "gcr.io/kaniko-project/executor:v1.24.0"


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An image that a site makes of these sources."""

    name: str
    image: str
    directory: str
    lock: str


def own_images(settings: Settings) -> list[OwnImage]:
    """The hub's, the service's, and one for each environment that names no image of another."""
    tag = image_tag(settings)
    hub_lock, user_lock = LOCKS[settings.cluster.images.jupyterhub]
    found = [
        OwnImage("hub", f"{image_name(settings, 'hub')}:{tag}", "hub", hub_lock),
        OwnImage(
            "service",
            f"{image_name(settings, 'service')}:{tag}",
            "service",
            "requirements/service.txt",
        ),
    ]
    for given, environment in zip(
        settings.servers.environments, environments(settings), strict=True
    ):
        if not environment.versions and given.image is None and environment.image is not None:
            found.append(OwnImage(given.name, environment.image, "notebook", user_lock))
        found += [
            OwnImage(f"{given.name}:{version.name}", filled.image, "notebook", user_lock)
            for version, filled in zip(given.versions, environment.versions, strict=True)
            if version.image is None and filled.image is not None
        ]
    return found


def chosen(settings: Settings, names: Sequence[str]) -> list[OwnImage]:
    """Images by name: hub, service, an environment, or its version; all where none is given.

    Raises
    ------
    NotFound
        If there is no such image.
    """
    known = {one.name: one for one in own_images(settings)}
    for name in names:
        if name not in known:
            raise NotFound(f"There is no image '{name[:60]}' to build. Known: {', '.join(known)}.")
    return [known[name] for name in names or known]


def recipe(
    own: OwnImage,
    images: ImageSettings,
    sources: Path,
    lock: str | None = None,
    secrets: dict[str, Path] | None = None,
) -> Recipe:
    """How an image is made.

    Parameters
    ----------
    lock
        Another file of requirements with hashes, below ``requirements`` of the sources.

    Raises
    ------
    InvalidInput
        If there is no such file.
    """
    path = lock or own.lock
    if Path(path).parts[0] != "requirements" or not (sources / path).is_file():
        raise InvalidInput(
            f"'{path}' is no file below requirements/ in {sources}: only what lies there is "
            "brought into a build."
        )
    return Recipe(
        image=own.image,
        containerfile=sources / containerfile(own),
        sources=sources,
        arguments={"BASE_IMAGE": images.base, "REQUIREMENTS": path, "VERSION": __version__},
        secrets=secrets or {},
    )


def containerfile(own: OwnImage) -> str:
    """Its path in the sources."""
    return f"deploy/images/{own.directory}/Containerfile"


def find_sources(given: Path | None) -> Path:
    """The sources that images are made of: given, around this package, or here.

    Raises
    ------
    NotFound
        If there are none.
    """
    for path in (given,) if given else (Path(__file__).parents[3], Path.cwd()):
        if path is not None and (path / "deploy" / "images").is_dir():
            return path.absolute()
    raise NotFound(
        "Images are made of dachub's sources, which are not here: give their directory with "
        "--sources."
    )


def kaniko_job(own: OwnImage, settings: Settings, context: str) -> dict[str, Any]:
    """A Job with which the cluster builds and pushes an image; logins come from a Secret."""
    images = settings.cluster.images
    arguments = {
        "BASE_IMAGE": images.base,
        "REQUIREMENTS": own.lock,
        "VERSION": __version__,
        "SOURCE_DATE_EPOCH": str(EPOCH),
    }
    container: dict[str, Any] = {
        "name": "kaniko",
        "image": KANIKO_IMAGE,
        "args": [
            f"--context={context}",
            f"--dockerfile={containerfile(own)}",
            f"--destination={own.image}",
            "--reproducible",
            *(("--insecure",) if images.plain_http else ()),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        ],
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
    if images.pull_logins:
        container["volumeMounts"] = [{"name": "login", "mountPath": "/kaniko/.docker"}]
        secret = {
            "secretName": images.pull_logins[0],
            "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
        }
        pod["volumes"] = [{"name": "login", "secret": secret}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"dachub-image-{own.directory}-",
            "namespace": settings.cluster.namespace,
        },
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
