"""``dachub.yaml``: one validated tree, composed of the packages' own sections.

Secrets are never in the tree: they come from a file that it names, or from the environment.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Hashable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin
from urllib.parse import quote, urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dachub.cluster import records
from dachub.cluster.edge import ACCEPTABLE_USE_PATH, NginxSettings
from dachub.cluster.logs import LogSettings
from dachub.cluster.settings import ClusterSettings
from dachub.directory.settings import DirectorySettings
from dachub.hub.settings import LoginSettings, ServerSettings, SiteSettings
from dachub.model.logs import LogKind
from dachub.model.problems import DachubError
from dachub.model.settings import Section
from dachub.model.software import RECOMMENDED
from dachub.notices.settings import MailSettings
from dachub.privacy.settings import PrivacySettings
from dachub.quota.settings import QuotaSettings
from dachub.reports.settings import ReportSettings
from dachub.storage.settings import StorageSettings

DATABASE_URL = "DACHUB_DATABASE_URL"
DATABASE_PASSWORD = "DACHUB_DATABASE_PASSWORD"  # noqa: S105  the variable's name
OPENID_CLIENT_SECRET = "DACHUB_OIDC_CLIENT_SECRET"  # noqa: S105  the variable's name
SMTP_PASSWORD = "DACHUB_SMTP_PASSWORD"  # noqa: S105  the variable's name
LOGS_PASSWORD = "DACHUB_LOGS_PASSWORD"  # noqa: S105  the variable's name
METRICS_TOKEN = "DACHUB_METRICS_TOKEN"  # noqa: S105  the variable's name

TOKEN_MIN_CHARACTERS = 16


class ConfigurationError(DachubError):
    """The configuration cannot be used; the message names every fault in it."""

    code = "configuration-invalid"


class PlainHTTPRefused(ConfigurationError):
    """Passwords would cross a network unencrypted."""

    code = "plain-http-refused"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; a network is written as 10.0.0.0/8") from error


class ListenSettings(Section):
    """Where the platform listens."""

    host: str = Field(default="127.0.0.1", description="Address; beyond loopback TLS is needed")
    port: int = Field(default=8000, ge=1, le=65535, description="TCP port")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+/?$",
        description="What people type in their browser, where a proxy stands in front",
    )
    behind_proxy: bool = Field(
        default=False, description="A proxy in front does TLS; without it, TLS is needed here"
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Networks of the proxies whom the service believes for whom they ask, and "
        "whether that was over TLS (X-Forwarded-For, X-Forwarded-Proto)",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class TLSSettings(Section):
    """Certificate and key for listening beyond loopback."""

    certificate: Path | None = Field(default=None, description="PEM file with the whole chain")
    key: Path | None = Field(default=None, description="PEM file, not encrypted, mode 0600")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        return self


class DatabaseSettings(Section):
    """The service's PostgreSQL (>= 15); an embedded one where no URL is given."""

    url: str | None = Field(
        default=None,
        pattern=r"^postgresql://",
        description="postgresql://user@host/database; the password comes from password_file "
        f"or {DATABASE_PASSWORD}. A URL with its password in {DATABASE_URL} wins over both",
    )
    password_file: Path | None = Field(default=None, description="File with the password alone")

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.url is not None and urlsplit(self.url).password is not None:
            raise ValueError(
                f"url must not carry the password: put it into password_file or {DATABASE_PASSWORD}"
            )
        return self


class MetricsSettings(Section):
    """Figures for Prometheus, at /services/dac/metrics."""

    token_file: Path | None = Field(
        default=None,
        description="File with the token that Prometheus shows, of 16 characters or more; else "
        f"{METRICS_TOKEN}. Administrators may look without it",
    )


class Settings(Section):
    """The whole of ``dachub.yaml``."""

    site: SiteSettings = SiteSettings()
    listen: ListenSettings = ListenSettings()
    tls: TLSSettings = TLSSettings()
    nginx: NginxSettings = NginxSettings()
    database: DatabaseSettings = DatabaseSettings()
    login: LoginSettings = LoginSettings()
    servers: ServerSettings = ServerSettings()
    directory: DirectorySettings = DirectorySettings()
    quota: QuotaSettings = QuotaSettings()
    mail: MailSettings | None = None
    metrics: MetricsSettings = MetricsSettings()
    storage: StorageSettings = StorageSettings()
    privacy: PrivacySettings = PrivacySettings()
    reports: ReportSettings = ReportSettings()
    logs: LogSettings = LogSettings()
    cluster: ClusterSettings = ClusterSettings()

    @model_validator(mode="after")
    def _forgets_in_time(self) -> Self:
        """What is shipped is kept no longer than privacy allows."""
        for kind in LogKind:
            given, allowed = self.logs.retention_days.of(kind), self._log_days_max(kind)
            if given is not None and allowed is not None and given > allowed:
                name = "audit_days" if kind is LogKind.AUDIT else "logs_days"
                raise ValueError(
                    f"logs.retention_days.{kind} is {given}, but privacy.{name} allows {allowed} "
                    "days: lines hold usernames"
                )
        return self

    def log_days(self, kind: LogKind) -> int | None:
        """How long a store keeps lines of a kind; ``None`` for ever."""
        given = self.logs.retention_days.of(kind)
        return self._log_days_max(kind) if given is None else given

    def _log_days_max(self, kind: LogKind) -> int | None:
        return self.privacy.audit_days if kind is LogKind.AUDIT else self.privacy.logs_days

    def require_safe_listening(self) -> None:
        """Refuse plain HTTP beyond this machine.

        Raises
        ------
        PlainHTTPRefused
            Unless there is TLS, or a proxy in front was declared.
        """
        if self.listen.is_loopback or self.listen.behind_proxy or self.tls.certificate is not None:
            return
        raise PlainHTTPRefused(
            f"Listening on {self.listen.host} without TLS would send passwords over the network "
            "in the clear. Set tls.certificate and tls.key; or, where a proxy in front does TLS, "
            "set listen.behind_proxy: true; or listen on 127.0.0.1."
        )


# --- Reading -------------------------------------------------------------------------------------


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
        tree = merged(tree, _instance(instances, instance, source))
    elif isinstance(instances, Mapping):  # a mistake in one is told now, not when it is needed
        for name, differences in instances.items():
            if isinstance(differences, Mapping):
                _validated(merged(tree, differences), f"{source}, instance '{name}',")
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


# --- Secrets -------------------------------------------------------------------------------------


def read_secret(
    file: Path | None, variable: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """A secret from its file, else from the environment; ``None`` where it is in neither.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or is empty.
    """
    if file is None:
        return environ.get(variable) or None
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The secret in {file} cannot be read: {error}.") from error
    if not secret:
        raise ConfigurationError(f"The file {file} should hold a secret but is empty.")
    return secret


def _required(
    file: Path | None, variable: str, environ: Mapping[str, str], *, lacking: str, setting: str
) -> str:
    secret = read_secret(file, variable, environ)
    if secret is None:
        raise ConfigurationError(f"{lacking}: name a file in {setting}, or set {variable}.")
    return secret


def openid_client_secret(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret this site has with its OpenID provider, if there is a provider.

    Raises
    ------
    ConfigurationError
        If there is a provider but no secret for it.
    """
    openid = settings.login.openid
    if openid is None:
        return None
    return _required(
        openid.client_secret_file,
        OPENID_CLIENT_SECRET,
        environ,
        lacking="login.openid is set, but not the client secret",
        setting="login.openid.client_secret_file",
    )


def smtp_password(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The password for the mail server; ``None`` where no mails are sent, or without a login.

    Raises
    ------
    ConfigurationError
        If there is a username but no password for it.
    """
    mail = settings.mail
    if mail is None or mail.username is None:
        return None
    return _required(
        mail.password_file,
        SMTP_PASSWORD,
        environ,
        lacking="mail.username is set, but not the password",
        setting="mail.password_file",
    )


def metrics_token(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token that Prometheus shows; ``None`` where only administrators may look.

    Raises
    ------
    ConfigurationError
        If it is so short that it could be guessed.
    """
    token = read_secret(settings.metrics.token_file, METRICS_TOKEN, environ)
    if token is not None and len(token) < TOKEN_MIN_CHARACTERS:
        raise ConfigurationError(
            f"The token for metrics has less than {TOKEN_MIN_CHARACTERS} characters: make one "
            "with: openssl rand -hex 32"
        )
    return token


def external_database_url(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> str | None:
    """``database.url`` with its password put in; ``None`` where the embedded database is used.

    Raises
    ------
    ConfigurationError
        If the file with the password cannot be read.
    """
    if given := environ.get(DATABASE_URL):
        return given
    url = settings.database.url
    if url is None:
        return None
    password = read_secret(settings.database.password_file, DATABASE_PASSWORD, environ)
    parts = urlsplit(url)
    if password is None or parts.username is None:
        return url
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{address}").geturl()


# --- Writing -------------------------------------------------------------------------------------


def bounds(field: FieldInfo) -> str:
    """What a setting may be, where its type allows more than it does; else nothing."""
    choices = _choices(field.annotation)
    if choices:
        return f"one of {', '.join(choices)}"
    limits = {
        name: limit
        for rule in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if (limit := getattr(rule, name, None)) is not None
    }
    if limits.keys() == {"ge", "le"}:
        return f"{limits['ge']} to {limits['le']}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return ", ".join(f"{words[name]} {limit}" for name, limit in limits.items())


def _choices(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(choice.value) for choice in annotation]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def commented_text() -> str:
    """Text of a first ``dachub.yaml``: every setting explained, with its default, commented out."""
    lines = [
        "## The configuration of dachub. Everything is optional: what is commented out shows the",
        "## default. To change a value take the first '#' away, of its section's line too; run",
        "## 'dachub config check'. Changes count from the next start on.",
    ]
    for name, field in Settings.model_fields.items():
        section = section_in(field.annotation)
        assert section is not None  # noqa: S101  every key at the top is a section
        lines += ["", f"## {(section.__doc__ or '').strip()}", f"#{name}:"]
        lines += _commented(section, "  ")
    lines += [
        "",
        "## Other instances of the platform, such as one for development: what differs from the",
        "## above, by name. See --instance of dachub deploy.",
        "#instances:",
        "#  dev:",
        "#    listen: {public_url: https://dev.dac.example.org}",
        "#    cluster: {namespace: dachub-dev}",
    ]
    return "\n".join(lines) + "\n"


def _commented(section: type[BaseModel], indent: str) -> list[str]:
    lines: list[str] = []
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        allowed = f" ({said})" if (said := bounds(field)) else ""
        lines.append(f"#{indent}# {field.description}{allowed}")
        if inner is not None and isinstance(field.default, BaseModel | None):
            lines += [f"#{indent}{name}:", *_commented(inner, indent + "  ")]
            continue
        value = "..." if field.is_required() else _plain(field.get_default())
        text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=90)
        lines += [f"#{indent}{line}" for line in text.splitlines()]
    return lines


def _plain(value: object) -> object:
    """``value`` as YAML writes it, without what is unset anyway."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str | Path) else value
