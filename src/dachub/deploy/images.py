"""Names of container images: which one is what, and which ones machines should have at hand."""

from __future__ import annotations

from datetime import date

from dachub import __version__
from dachub.config import Settings
from dachub.model.software import Environment


def image_name(settings: Settings, name: str) -> str:
    """An image of ours without its tag."""
    registry = settings.cluster.images.registry.rstrip("/")
    return f"{registry}/dachub-{name}" if registry else f"dachub-{name}"


def image_tag(settings: Settings) -> str:
    """The tag of our images."""
    return settings.cluster.images.tag or __version__


def environments(settings: Settings) -> tuple[Environment, ...]:
    """What people choose from, each with an image: its own, else ours of the same name.

    The image of a version has the version as its tag.
    """
    return tuple(_with_images(settings, one) for one in settings.servers.environments)


def _with_images(settings: Settings, environment: Environment) -> Environment:
    name = image_name(settings, environment.name)
    if environment.versions:
        versions = tuple(
            version.model_copy(update={"image": version.image or f"{name}:{version.name}"})
            for version in environment.versions
        )
        return environment.model_copy(update={"versions": versions})
    image = environment.image or f"{name}:{image_tag(settings)}"
    return environment.model_copy(update={"image": image})


def offered_images(settings: Settings, today: date) -> dict[str, str]:
    """Images that servers start with on a day, by environment and version; the preset one first."""
    found: dict[str, str] = {}
    for environment in environments(settings):
        if environment.image is not None:
            found[environment.name] = environment.image
        offered = environment.offered(today)
        preset = environment.preset(today)
        for version in sorted(offered, key=lambda one: one != preset):
            assert version.image is not None  # noqa: S101  filled in above
            found[f"{environment.name}:{version.name}"] = version.image
    return found


def divided(image: str) -> dict[str, str]:
    """Name and tag of an image as Zero to JupyterHub joins them again, also of one by digest."""
    name, _, tag = image.rpartition(":")
    return {"name": name, "tag": tag}
