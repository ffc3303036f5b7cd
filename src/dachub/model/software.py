"""What servers start with: environments, their versions side by side, and images of one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from dachub.model.names import GroupSlug
from dachub.model.problems import ChoiceRefused

OWN_IMAGE = "own-image"
"""The environment under which servers from images that people bring are accounted."""
RECOMMENDED = "recommended"
"""The alias of the version that a server starts with unless another is asked for."""
IMAGE_MAX = 400

OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$")]
VersionName = Annotated[
    str,
    # YAML takes 2026-11-20 for a day.
    BeforeValidator(lambda given: given.isoformat() if isinstance(given, date) else given),
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,28}[a-z0-9])?$"),
]
ModuleName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
]

_HOST = r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9-]+(?=:))(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_HOST}(?:/{_PART})+")
_IMAGE = re.compile(
    rf"(?P<repository>{_HOST}(?:/{_PART})+)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)


class UnknownEnvironment(ChoiceRefused):
    """The site has no such environment, or the group may not use it."""

    code = "environment-not-available"


class VersionRetired(ChoiceRefused):
    """The version of an environment is not offered any more."""

    code = "version-retired"


class ImageRefused(ChoiceRefused):
    """An image that a person brings cannot be used here."""

    code = "image-refused"


class EnvironmentVersion(BaseModel):
    """One of the versions of an environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: VersionName = Field(description="Such as 2026-11-20")
    interpreter: str | None = Field(
        default=None, description="Python of the version, on one machine"
    )
    image: str | None = Field(default=None, description="Container image, on Kubernetes")
    retired_on: date | None = Field(
        default=None, description="First day (UTC) on which no server starts with it any more"
    )

    def is_retired(self, today: date) -> bool:
        """Whether no server starts with it any more."""
        return self.retired_on is not None and self.retired_on <= today


class Software(BaseModel):
    """What one server starts with."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="As it is accounted: astronomy, astronomy:2026-11-20, own-image")
    interpreter: str | None = None
    image: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether a person brought it."""
        return self.name == OWN_IMAGE


class Environment(BaseModel):
    """A set of software that a server starts with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: OptionName = Field(description="As it is accounted, in reports and in the API")
    title: str = Field(default="", description="What people see; the name when empty")
    description: str = Field(default="", description="What is in it, for the start page")
    interpreter: str | None = Field(
        default=None, description="Python of the environment, on one machine"
    )
    image: str | None = Field(default=None, description="Container image, on Kubernetes")
    groups: tuple[GroupSlug, ...] | None = Field(
        default=None, description="Groups that may use it; all when not given"
    )
    modules: tuple[ModuleName, ...] = Field(
        default=(), description="Python modules that it promises; a smoke test imports them"
    )
    versions: tuple[EnvironmentVersion, ...] = Field(
        default=(), description="Versions side by side, the newest first; else there is only one"
    )
    aliases: dict[VersionName, VersionName] = Field(
        default={},
        description="Other names of versions, such as weekly; recommended is what a server starts "
        "with unless another version is asked for",
    )

    @field_validator("name")
    @classmethod
    def _is_no_own_image(cls, name: str) -> str:
        if name == OWN_IMAGE:
            raise ValueError(f"the name '{OWN_IMAGE}' is taken: see servers.own_images")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [version.name for version in self.versions]
        if len(set(names)) < len(names):
            raise ValueError("two versions have the same name")
        if self.versions and (self.interpreter or self.image):
            raise ValueError("interpreter and image belong to the versions where there are any")
        for alias, version in self.aliases.items():
            if alias in names:
                raise ValueError(f"'{alias}' is a version and cannot be an alias")
            if version not in names:
                raise ValueError(
                    f"the alias '{alias}' leads to '{version}', which is none of the versions: "
                    + (", ".join(names) or "there are none")
                )
        return self

    @property
    def label(self) -> str:
        """What people see."""
        return self.title or self.name

    def offered(self, today: date) -> list[EnvironmentVersion]:
        """Versions that servers start with, the newest first."""
        return [version for version in self.versions if not version.is_retired(today)]

    def aliases_of(self, version: EnvironmentVersion) -> list[str]:
        """Other names of a version."""
        return [alias for alias, name in self.aliases.items() if name == version.name]

    def preset(self, today: date) -> EnvironmentVersion | None:
        """The version of a server that asks for none: the recommended one, else the newest."""
        offered = self.offered(today)
        wanted = self.aliases.get(RECOMMENDED)
        newest = offered[0] if offered else None
        return next((version for version in offered if version.name == wanted), newest)

    def software(self, version: str | None, today: date) -> Software:
        """What a server starts with that asks for a version, by its name or an alias.

        Raises
        ------
        UnknownEnvironment, VersionRetired
            With a message for the person.
        """
        if not self.versions and version is None:
            return Software(name=self.name, interpreter=self.interpreter, image=self.image)
        preset = self.preset(today)
        name = self.aliases.get(version, version) if version is not None else None
        found = (
            preset
            if name is None
            else next((one for one in self.versions if one.name == name), None)
        )
        if found is None:
            known = [*self.aliases, *(one.name for one in self.offered(today))]
            raise UnknownEnvironment(
                f"There is no version '{(version or '')[:40]}' of {self.label}. "
                "Available: " + (", ".join(known) or "none") + "."
            )
        if found.is_retired(today):
            raise VersionRetired(
                f"The version {found.name} of {self.label} was retired on {found.retired_on}. "
                + (
                    f"Start with '{self.name}:{preset.name}' instead."
                    if preset is not None
                    else "There is no other."
                )
            )
        return Software(
            name=f"{self.name}:{found.name}", interpreter=found.interpreter, image=found.image
        )


class OwnImages(BaseModel):
    """Images that people may bring by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed: tuple[str, ...] = Field(
        default=(),
        description="Repositories, such as registry.example.org/team/tools, or with a slash at the "
        "end all below; nobody may bring images where there are none",
    )
    groups: tuple[GroupSlug, ...] | None = Field(
        default=None, description="Groups that may bring images; all when not given"
    )

    @field_validator("allowed")
    @classmethod
    def _repositories(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in allowed:
            whole = pattern.removesuffix("/")
            if not _REPOSITORY.fullmatch(whole) and not re.fullmatch(_HOST, whole):
                raise ValueError(
                    f"'{pattern}' is no repository such as registry.example.org/team/tools, nor "
                    "the beginning of some such as registry.example.org/team/"
                )
            if "/" not in pattern:
                raise ValueError(f"'{pattern}' is a registry: write '{pattern}/' for all in it")
        return allowed

    def are_open_to(self, group: str) -> bool:
        """Whether a group may bring images."""
        return bool(self.allowed) and (self.groups is None or group in self.groups)

    def software(self, image: str, group: str) -> Software:
        """What a server starts with whose person brings an image.

        Raises
        ------
        ImageRefused
            If the site or the group may not, the name is none of an image, or of another place.
        """
        if not self.are_open_to(group):
            raise ImageRefused(f"The group '{group}' may not bring images of its own.")
        match = _IMAGE.fullmatch(image) if len(image) <= IMAGE_MAX else None
        shown = "".join(letter for letter in image[:80] if letter.isprintable())
        if match is None or not (match["tag"] or match["digest"]):
            raise ImageRefused(
                f"'{shown}' is no image with its tag or digest, such as "
                "registry.example.org/team/tools:2026.1."
            )
        repository = match["repository"]
        if not any(
            repository.startswith(pattern) if pattern.endswith("/") else repository == pattern
            for pattern in self.allowed
        ):
            raise ImageRefused(
                f"Images from '{repository[:80]}' may not be used here. Allowed: "
                + ", ".join(self.allowed)
                + "."
            )
        return Software(name=OWN_IMAGE, image=image)


NO_OWN_IMAGES = OwnImages()


def choose_software(
    name: str | None,
    image: str | None,
    group: str,
    environments: Sequence[Environment],
    own_images: OwnImages,
    today: date,
) -> Software:
    """What a server of a group starts with.

    Parameters
    ----------
    name
        An environment, such as ``astronomy``, or one of its versions, such as
        ``astronomy:2026-11-20`` or ``astronomy:weekly``; the site's first where not given.
    image
        An image that the person brings instead.

    Raises
    ------
    UnknownEnvironment, VersionRetired, ImageRefused
        With a message for the person.
    """
    if image is not None:
        if name not in {None, OWN_IMAGE}:
            raise ImageRefused("Choose either an environment or an image of your own, not both.")
        return own_images.software(image, group)
    if name == OWN_IMAGE:
        raise ImageRefused("Name the image that you bring.")
    offered = [one for one in environments if one.groups is None or group in one.groups]
    base, colon, version = (name or "").partition(":")
    found = next((one for one in offered if one.name == base or name is None), None)
    if found is None:
        raise UnknownEnvironment(
            f"The environment '{base[:40]}' is not available to the group '{group}'. "
            "Available: " + (", ".join(one.name for one in offered) or "none") + "."
        )
    return found.software(version if colon else None, today)
