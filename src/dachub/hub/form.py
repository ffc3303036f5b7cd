"""The start page: who pays, how big, which software."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined

from dachub.hub import runtime
from dachub.hub.clock import now
from dachub.hub.logs import begin_request
from dachub.hub.service import PORTAL_PATH, ServiceDown, ServiceRefused
from dachub.hub.sessions import OPTIONS, read_options
from dachub.model.problems import InvalidInput
from dachub.model.site import ServerChoice, Size
from dachub.model.software import OWN_IMAGE, RECOMMENDED, Environment, EnvironmentVersion
from dachub.model.units import MILLI_CORE_SECONDS_PER_CORE_HOUR, spoken_memory
from dachub.model.usage import GroupBalance, StartOptions

log = logging.getLogger(__name__)

TEMPLATES = Path(__file__).with_name("templates")

_templates = Templates(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
)


@dataclass(frozen=True, slots=True)
class GroupOption:
    """A group on the start page; hours are core-hours.

    ``lasts`` says of each size that a limit bears on how long what is left is enough for it.
    """

    name: str
    title: str
    figures: str
    used_percent: int | None
    message: str
    lasts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SoftwareOption:
    """An environment on the start page, or one of its versions; ``name`` is what is chosen."""

    name: str
    title: str
    description: str = ""
    limited: str = ""
    others: tuple[SoftwareOption, ...] = ()


async def options_form(spawner: Any) -> str:
    """HTML of the start page for the owner of a spawner."""
    begin_request()
    live = runtime.current()
    offer, available = await _offer(spawner.user.name)
    spawner.may_start = bool(offer.groups)
    last = _last_choice(spawner, offer.last_choice)
    titles = {size.name: size.title or size.name for size in live.settings.servers.sizes}
    groups = [_group(balance, available, titles) for balance in offer.groups]
    names = {group.name for group in groups}
    sizes = [size for size in live.settings.servers.sizes if _open(size, names)]
    today = now().date()
    environments = [
        _environment(one, names, today)
        for one in live.settings.servers.environments
        if _open(one, names)
    ]
    own = live.settings.servers.own_images
    own_images = own.allowed if any(map(own.are_open_to, names)) else ()
    if own_images:
        environments.append(SoftwareOption(OWN_IMAGE, "An image of your own"))
    return _templates.get_template("start_form.html").render(
        groups=groups,
        sizes=[(size, _describe(size), _limited(size, names)) for size in sizes],
        environments=environments,
        own_images=own_images,
        chosen_image=last.image,
        chosen_group=_preset(last.group, [group.name for group in groups]),
        chosen_size=_preset(last.size, [size.name for size in sizes]),
        chosen_environment=_preset(
            OWN_IMAGE if last.image else last.environment,
            [option.name for one in environments for option in (one, *one.others)],
        ),
        notices=[*offer.notices, *_about_last(spawner.user.name)],
        portal_url=PORTAL_PATH,
        available=available,
        site=live.settings.site,
        username=spawner.user.name,
    )


def options_from_form(form: dict[str, list[str]]) -> dict[str, str]:
    """The choice as the form sent it; checked when the server starts, like one sent by REST."""
    choice = {
        name: values[0].strip()
        for name, values in form.items()
        if name in OPTIONS and values and values[0].strip()
    }
    if choice.get("environment") != OWN_IMAGE:  # its field is there whatever is chosen
        choice.pop("image", None)
    return choice


def _about_last(username: str) -> list[str]:
    reason = runtime.current().last_ends.get(username)
    return [f"About your last server: {reason}"] if reason else []


async def _offer(username: str) -> tuple[StartOptions, bool]:
    """What the person may choose from, and whether the figures are known."""
    live = runtime.current()
    try:
        return await live.service.start_options(username), True
    except (ServiceDown, ServiceRefused) as error:
        log.warning("%s The start page of %s offers what the hub remembers.", error, username)
        person = await live.people.last_known(username)
        return (
            StartOptions(
                groups=[
                    GroupBalance(group=one.group, title=one.title, used=0) for one in person.groups
                ],
                last_choice=ServerChoice(),
            ),
            False,
        )


def _last_choice(spawner: Any, known: ServerChoice) -> ServerChoice:
    """What was chosen last, also if it was refused just now; else what the ledger knows."""
    options = spawner.user_options or spawner.orm_spawner.user_options
    try:
        chosen = read_options(options or {})
    except InvalidInput:
        return known
    return known.model_copy(update=chosen.model_dump(exclude_none=True))


def _group(balance: GroupBalance, available: bool, titles: Mapping[str, str]) -> GroupOption:
    return GroupOption(
        name=balance.group,
        title=balance.title or balance.group,
        figures=_figures(balance) if available else "",
        used_percent=(
            min(100, balance.used * 100 // balance.allocated)
            if available and balance.allocated
            else None
        ),
        message=balance.message,
        lasts=[(titles.get(one.size, one.size), one.text) for one in balance.forecasts if one.text],
    )


def _figures(balance: GroupBalance) -> str:
    used = _hours(balance.used)
    if balance.allocated is None or balance.left is None:
        return f"{used} core-hours used, no limit"
    left = _hours(max(0, balance.left))
    text = f"{used} of {_hours(balance.allocated)} core-hours used, {left} left"
    if balance.resets_at is not None:
        text += f" until {balance.resets_at:%-d %B %Y}"
    if balance.member_limit is not None:
        limit, own = _hours(balance.member_limit), _hours(balance.member_used or 0)
        text += f". Your own limit: {own} of {limit} used"
    return text


def _hours(milli_core_seconds: int) -> str:
    hours = milli_core_seconds / MILLI_CORE_SECONDS_PER_CORE_HOUR
    if hours >= 100:
        return f"{hours:,.0f}"
    return f"{hours:.1f}" if hours >= 1 or not hours else f"{hours:.3f}"


def _describe(size: Size) -> str:
    cores = size.milli_cores / 1000
    text = f"{cores:g} {'core' if cores <= 1 else 'cores'}, {spoken_memory(size.memory_bytes)}"
    if size.gpus:
        text += f", {size.gpus} {'GPU' if size.gpus == 1 else 'GPUs'}"
    return text


def _environment(environment: Environment, groups: set[str], today: date) -> SoftwareOption:
    preset = environment.preset(today)
    title, version = environment.label, ""
    if preset is not None:
        version = f"Version {preset.name}."
        title += f" ({RECOMMENDED})" if RECOMMENDED in environment.aliases_of(preset) else ""
    return SoftwareOption(
        environment.name,
        title,
        " ".join(filter(None, [environment.description, version, _until(preset)])),
        _limited(environment, groups),
        tuple(
            SoftwareOption(
                f"{environment.name}:{version.name}",
                ", ".join([version.name, *environment.aliases_of(version)]),
                _until(version),
            )
            for version in environment.offered(today)
            if version != preset
        ),
    )


def _until(version: EnvironmentVersion | None) -> str:
    """That a version will be retired; for the person."""
    if version is None or version.retired_on is None:
        return ""
    return f"It goes: no server starts with it from {version.retired_on:%-d %B %Y} on."


def _open(option: Size | Environment, groups: set[str]) -> bool:
    return option.groups is None or bool(groups.intersection(option.groups))


def _limited(option: Size | Environment, groups: set[str]) -> str:
    """Which of the person's groups may use an option, where not all may."""
    if option.groups is None or groups <= set(option.groups):
        return ""
    return ", ".join(sorted(groups.intersection(option.groups)))


def _preset(last: str | None, names: list[str]) -> str | None:
    if last in names:
        return last
    return names[0] if names else None
