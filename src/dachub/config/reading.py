"""Reads ``dachub.yaml``: every fault at once, with the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dachub.cluster import records
from dachub.cluster.edge import ACCEPTABLE_USE_PATH
from dachub.config.tree import ConfigurationError, Settings
from dachub.hub.settings import ServerSettings, SiteSettings
from dachub.model.settings import Section
from dachub.model.software import RECOMMENDED


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, which YAML readers otherwise drop without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no key of ours; refused below
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(
    path: Path,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    instance: str | None = None,
) -> Settings:
    """Read and check ``dachub.yaml``; a file that is not there counts as empty.

    Parameters
    ----------
    path
        The file; relative paths inside it count from its directory.
    overrides
        Section -> key -> value that win over the file; ``None`` values do not count.
    instance
        Which of the file's ``instances`` is meant, such as ``dev``; what it says wins.

    Raises
    ------
    ConfigurationError
        With every fault found, and the nearest known key for each unknown one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    settings = parse(text, str(path), overrides, instance)
    settings.require_safe_listening()
    return settings.model_copy(
        update={
            "site": _with_rules(settings),
            "servers": _with_recommended(settings.servers, path),
            "tls": _from(path.parent, settings.tls, "certificate", "key"),
            "nginx": _from(path.parent, settings.nginx, "acceptable_use_file"),
            "database": _from(path.parent, settings.database, "password_file"),
            "mail": settings.mail and _from(path.parent, settings.mail, "password_file", "ca_file"),
            "metrics": _from(path.parent, settings.metrics, "token_file"),
            "storage": _from(
                path.parent,
                settings.storage,
                "homes",
                "groups",
                "group_links",
                "state",
                "machine_certificates",
            ),
            "logs": settings.logs.model_copy(
                update={
                    "store": settings.logs.store
                    and _from(path.parent, settings.logs.store, "password_file", "ca_file")
                }
            ),
            "login": settings.login.model_copy(
                update={
                    "openid": settings.login.openid
                    and _from(path.parent, settings.login.openid, "client_secret_file")
                }
            ),
        }
    )


def parse(
    text: str,
    source: str,
    overrides: Mapping[str, Mapping[str, object]] | None = None,
    instance: str | None = None,
) -> Settings:
    """Check the text of a configuration; ``source`` names it in messages.

    Raises
    ------
    ConfigurationError
        As :func:`load`.
    """
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "no characters that YAML allows"
        raise ConfigurationError(f"{source}{line} is not valid YAML: {problem}.") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{source} must consist of sections (key: value), not a single value."
        )
    instances = tree.pop("instances", None) or {}
    if instance is not None:
        tree = _of_instance(tree, _instance(instances, instance, source), instance)
    elif isinstance(instances, Mapping):  # a mistake in one is told now, not when it is needed
        for name, differences in instances.items():
            if isinstance(differences, Mapping):
                _validated(_of_instance(tree, differences, name), f"{source}, instance '{name}',")
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        if given and isinstance(tree.get(section) or {}, dict):
            tree[section] = {**(tree.get(section) or {}), **given}
    return _validated(tree, source)


def _validated(tree: Mapping[str, Any], source: str) -> Settings:
    # A section whose keys are all commented out is as good as absent.
    tree = {key: value for key, value in tree.items() if value is not None}
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = [_fault(detail) for detail in details if not _follows(detail, details)]
        word = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        listed = "".join(f"\n  - {fault}" for fault in faults)
        raise ConfigurationError(f"{source} has {word}:{listed}") from error


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Trees laid over each other: ``theirs`` wins, lists are replaced."""
    result = dict(ours)
    for key, value in theirs.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(below, value)
        result[key] = value
    return result


def _instance(instances: object, name: str, source: str) -> Mapping[str, Any]:
    if not isinstance(instances, Mapping) or not isinstance(instances.get(name), Mapping):
        known = ", ".join(map(str, instances)) if isinstance(instances, Mapping) else ""
        raise ConfigurationError(
            f"{source} describes no instance '{name}' (under instances: {known or 'none'})."
        )
    tree: Mapping[str, Any] = instances[name]
    return tree


def _of_instance(
    tree: Mapping[str, Any], differences: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """What the file says of an instance; its synthetic people know whose they are."""
    whole = merged(tree, differences)
    if isinstance(whole.get("synthetic"), Mapping):
        whole["synthetic"] = {**whole["synthetic"], "instance": name}
    return whole


def _from(directory: Path, section: Section, *keys: str) -> Section:
    paths = {key: getattr(section, key) for key in keys}
    return section.model_copy(
        update={key: directory.absolute() / value for key, value in paths.items() if value}
    )


def _with_rules(settings: Settings) -> SiteSettings:
    """The site, whose rules are where nginx shows them unless it says otherwise."""
    if settings.nginx.acceptable_use_file is None or settings.site.acceptable_use_url is not None:
        return settings.site
    return settings.site.model_copy(update={"acceptable_use_url": ACCEPTABLE_USE_PATH})


def _with_recommended(servers: ServerSettings, path: Path) -> ServerSettings:
    """The servers with what ``dachub image recommend`` keeps beside the configuration.

    A version that the configuration has no more is recommended no more.
    """
    recommended = records.read(path).recommended
    environments = tuple(
        environment.model_copy(
            update={"aliases": {**environment.aliases, RECOMMENDED: recommended[environment.name]}}
        )
        if recommended.get(environment.name) in {one.name for one in environment.versions}
        else environment
        for environment in servers.environments
    )
    if environments == servers.environments:
        return servers
    return servers.model_copy(update={"environments": environments})


def _fault(detail: ErrorDetails) -> str:
    """One fault in words: path of the key, what is wrong, what is meant perhaps."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _keys_at(detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if detail["type"] == "value_error":
        return f"{where}: {detail['ctx']['error']}"
    given = detail["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown[:80]}"


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a list only counts as too short because its items have faults."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(place)] == place for other in details if other is not detail
    )


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    """Known keys of the section at ``path``."""
    model: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, str):
            model = section_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def section_in(annotation: object) -> type[BaseModel] | None:
    """The model inside an annotation such as ``Section | None`` or ``tuple[Size, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_in(part))), None)
