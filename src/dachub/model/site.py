"""What a site offers: sizes and environments of servers, and the check of a person's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dachub.model.names import GroupSlug
from dachub.model.problems import DachubError

Option = TypeVar("Option", "Size", "Environment")
RESCUE_SIZE = "rescue"
"""Name of the size of a session in which a person makes room; nobody chooses it."""
OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$")]


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


class ServerChoice(BaseModel):
    """What a person asks for; empty fields are filled in where only one answer is possible."""

    group: str | None = Field(default=None, max_length=200)
    size: str | None = Field(default=None, max_length=200)
    environment: str | None = Field(default=None, max_length=200)


class ResolvedChoice(BaseModel):
    """A choice that was checked: everything named and allowed."""

    group: GroupSlug
    size: Size
    environment: Environment


class ChoiceRefused(DachubError):
    """A server may not be started as asked; the message is for the person."""

    code = "choice-refused"
    status = 403


class NoGroup(ChoiceRefused):
    """The person belongs to no group, so nobody can be charged."""

    code = "no-group"


class GroupNotYours(ChoiceRefused):
    """The person is no member of the group they want to charge."""

    code = "group-not-yours"


class UnknownSize(ChoiceRefused):
    """The site has no such size, or the group may not use it."""

    code = "size-not-available"


class UnknownEnvironment(ChoiceRefused):
    """The site has no such environment, or the group may not use it."""

    code = "environment-not-available"


def _open_to(options: Sequence[Option], group: str) -> list[Option]:
    return [option for option in options if option.groups is None or group in option.groups]


def resolve_choice(
    choice: ServerChoice,
    groups: Sequence[str],
    sizes: Sequence[Size],
    environments: Sequence[Environment],
) -> ResolvedChoice:
    """Check a choice against what the person and the group may use.

    Parameters
    ----------
    choice
        As the form or a REST client sent it: never trusted.
    groups
        Slugs of the groups the person belongs to now.

    Raises
    ------
    NoGroup, GroupNotYours, UnknownSize, UnknownEnvironment
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
    open_sizes = _open_to(sizes, group)
    size = _pick(open_sizes, choice.size)
    if size is None:
        raise UnknownSize(
            f"The size '{(choice.size or '')[:40]}' is not available to the group '{group}'. "
            "Available: " + (", ".join(option.name for option in open_sizes) or "none") + "."
        )
    open_environments = _open_to(environments, group)
    environment = _pick(open_environments, choice.environment)
    if environment is None:
        raise UnknownEnvironment(
            f"The environment '{(choice.environment or '')[:40]}' is not available "
            f"to the group '{group}'. "
            "Available: " + (", ".join(option.name for option in open_environments) or "none") + "."
        )
    return ResolvedChoice(group=group, size=size, environment=environment)


def _pick(options: Sequence[Option], name: str | None) -> Option | None:
    if name is None:
        return options[0] if options else None
    return next((option for option in options if option.name == name), None)
