"""What a site offers: sizes and software of servers, and the check of a person's choice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import GroupSlug
from dachub.model.problems import ChoiceRefused
from dachub.model.software import (
    IMAGE_MAX,
    Environment,
    OptionName,
    OwnImages,
    Software,
    choose_software,
)

RESCUE_SIZE = "rescue"
"""Name of the size of a session in which a person makes room; nobody chooses it."""


class Size(BaseModel):
    """A server size that people choose from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: OptionName = Field(description="As it is accounted, in reports and in the API")
    title: str = Field(default="", description="What people see; the name when empty")
    milli_cores: int = Field(gt=0, le=1_024_000, description="Thousandths of a core")
    memory_bytes: int = Field(gt=0, description="Memory, in bytes")
    gpus: int = Field(default=0, ge=0, description="Whole GPUs")
    groups: tuple[GroupSlug, ...] | None = Field(
        default=None, description="Groups that may use it; all when not given"
    )


class ServerChoice(BaseModel):
    """What a person asks for; empty fields are filled in where only one answer is possible."""

    group: str | None = Field(default=None, max_length=200)
    size: str | None = Field(default=None, max_length=200)
    environment: str | None = Field(
        default=None,
        max_length=200,
        description="With a version or an alias after a colon, where there are versions",
    )
    image: str | None = Field(
        default=None, max_length=IMAGE_MAX, description="Instead, where people may bring images"
    )


class ResolvedChoice(BaseModel):
    """A choice that was checked: everything named and allowed."""

    group: GroupSlug
    size: Size
    environment: Software


class NoGroup(ChoiceRefused):
    """The person belongs to no group, so nobody can be charged."""

    code = "no-group"


class GroupNotYours(ChoiceRefused):
    """The person is no member of the group they want to charge."""

    code = "group-not-yours"


class UnknownSize(ChoiceRefused):
    """The site has no such size, or the group may not use it."""

    code = "size-not-available"


def resolve_choice(
    choice: ServerChoice,
    groups: Sequence[str],
    sizes: Sequence[Size],
    environments: Sequence[Environment],
    own_images: OwnImages,
    today: date,
) -> ResolvedChoice:
    """Check a choice against what the person and the group may use.

    Parameters
    ----------
    choice
        As the form or a REST client sent it: never trusted.
    groups
        Slugs of the groups the person belongs to now.
    today
        In UTC: versions of environments are retired by day.

    Raises
    ------
    NoGroup, GroupNotYours, UnknownSize, UnknownEnvironment, VersionRetired, ImageRefused
        With a message for the person.
    """
    if not groups:
        raise NoGroup(
            "You belong to no group yet, so there is nobody to charge the computing time to. "
            "Ask the PI of your campaign to add you, then start again."
        )
    group = choice.group or (groups[0] if len(groups) == 1 else None)
    if group is None:
        raise GroupNotYours("Choose the group that pays: " + ", ".join(sorted(groups)) + ".")
    if group not in groups:
        raise GroupNotYours(
            f"You are not a member of the group '{group[:40]}'. "
            "Your groups are: " + ", ".join(sorted(groups)) + "."
        )
    open_sizes = [one for one in sizes if one.groups is None or group in one.groups]
    wanted = choice.size or (open_sizes[0].name if open_sizes else None)
    size = next((one for one in open_sizes if one.name == wanted), None)
    if size is None:
        raise UnknownSize(
            f"The size '{(choice.size or '')[:40]}' is not available to the group '{group}'. "
            "Available: " + (", ".join(option.name for option in open_sizes) or "none") + "."
        )
    software = choose_software(
        choice.environment, choice.image, group, environments, own_images, today
    )
    return ResolvedChoice(group=group, size=size, environment=software)
