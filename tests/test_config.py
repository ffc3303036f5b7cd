"""The configuration: strict, explained, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dachub import config
from dachub.config import ConfigurationError, PlainHTTPRefused, Settings, parse
from dachub.model.logs import LogKind


def all_fields(
    model: type[BaseModel], path: str = "", seen: tuple[type, ...] = ()
) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".lstrip(".")
        inner = config.section_in(field.annotation)
        yield here, field
        if inner is not None and inner not in seen:
            yield from all_fields(inner, here, (*seen, model))


def test_every_setting_is_described() -> None:
    described = {path: field.description for path, field in all_fields(Settings) if "." in path}
    # Sizes and environments are explained by their own names and the list's description.
    nameless = [
        path
        for path, text in described.items()
        if not text and not path.startswith(("servers.sizes.", "servers.environments."))
    ]
    assert nameless == []
    sections = [config.section_in(field.annotation) for field in Settings.model_fields.values()]
    assert all(section is not None and section.__doc__ for section in sections)


def test_no_setting_holds_a_secret() -> None:
    telling = re.compile(r"password|secret|token")
    holding = [
        path
        for path, field in all_fields(Settings)
        if telling.search(path.rpartition(".")[2]) and "Path" not in str(field.annotation)
    ]
    assert holding == []


def test_first_file_changes_nothing_and_uncommented_is_the_default() -> None:
    text = config.commented_text()
    assert parse(text, "dachub.yaml") == Settings()
    tree = yaml.safe_load("\n".join(line[1:] for line in text.splitlines()))
    tree["login"]["openid"] = tree["mail"] = None  # have no default: examples
    del tree["instances"], tree["logs"]["store"]  # the same
    assert Settings.model_validate(tree) == Settings()


def test_an_instance_is_the_file_with_what_it_says_itself_laid_over() -> None:
    text = """
site: {name: Main, contact: dac@example.org}
cluster: {context: production, replicas: 3}
instances:
  dev: {site: {name: Trial}, cluster: {namespace: dac-dev}}
"""
    main, dev = parse(text, "dachub.yaml"), parse(text, "dachub.yaml", instance="dev")
    assert (main.site.name, main.cluster.namespace) == ("Main", "dachub")
    assert (dev.site.name, dev.site.contact) == ("Trial", "dac@example.org")
    assert (dev.cluster.context, dev.cluster.replicas) == ("production", 3)
    assert dev.cluster.namespace == "dac-dev"


def test_made_up_people_are_only_for_an_instance() -> None:
    text = "instances: {dev: {synthetic: {people: 3}}}"
    assert parse(text, "dachub.yaml").synthetic is None
    dev = parse(text, "dachub.yaml", instance="dev").synthetic
    assert dev is not None
    assert (dev.people, dev.instance) == (3, "dev")
    with pytest.raises(ConfigurationError, match="only for an instance"):
        parse("synthetic: {people: 3}", "dachub.yaml")
    with pytest.raises(ConfigurationError, match="local accounts"):
        parse(
            "instances: {dev: {synthetic: {people: 3}, login: {local_accounts: false}}}",
            "dachub.yaml",
        )


@pytest.mark.parametrize("instances", ["", "instances: {dev: 3}", "instances: [dev]"])
def test_an_instance_that_is_not_described_is_refused(instances: str) -> None:
    with pytest.raises(ConfigurationError, match="describes no instance 'dev'"):
        parse(instances, "dachub.yaml", instance="dev")


def test_a_mistake_in_an_instance_is_told_also_while_it_is_not_in_use() -> None:
    with pytest.raises(ConfigurationError, match="instance 'dev'"):
        parse("instances: {dev: {sit: {}}}", "dachub.yaml")


def test_first_file_says_what_values_are_allowed() -> None:
    text = config.commented_text()
    assert "# TCP port (1 to 65535)" in text
    assert "# How often a place is measured (at least 60)" in text
    assert "does not answer (one of allow, deny)" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servrs: {}", ["servrs: unknown key; did you mean 'servers'?"]),
        (
            "listen: {prot: 8001}\nquota: {enforce_second: 3}",
            ["listen.prot: unknown key; did you mean 'port'?", "did you mean 'enforce_seconds'?"],
        ),
        ("listen: {port: 70000}", ["listen.port", "less than or equal to 65535", "70000"]),
        ("listen: {port: x}", ["listen.port", "valid integer"]),
        ("login: {openid: {issuer: https://x}}", ["login.openid.client_id: field required"]),
        ("servers: {sizes: []}", ["servers.sizes"]),
        (
            "servers: {sizes: [{name: rescue, milli_cores: 1, memory_bytes: 1}]}",
            ["servers.sizes", "servers.rescue"],
        ),
        (
            "servers: {sizes: [{nam: a, milli_cores: 1, memory_bytes: 1}]}",
            ["servers.sizes.0.nam: unknown key; did you mean 'name'?"],
        ),
        ("listen: [1", ["line 1 is not valid YAML"]),
        ("listen: {}\nlisten: {}", ["line 2", "given twice"]),
        ("? {a: 1}\n: 2", ["not valid YAML"]),
        ("- 1", ["must consist of sections"]),
        ("listen: 3", ["listen:"]),
        ("tls: {key: a.pem}", ["certificate and key belong together"]),
        ("database: {url: 'postgresql://u:hunter2@h/d'}", ["must not carry the password"]),
        ("database: {url: 'mysql://u@h/d'}", ["database.url"]),
        ("listen: {public_url: 'javascript:alert(1)'}", ["listen.public_url"]),
        ("!!python/object/apply:os.system ['true']", ["not valid YAML"]),
        ("a: \x00", ["not valid YAML"]),
    ],
)
def test_faults_are_named(text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "dachub.yaml", {"listen": {"host": None, "port": None}})
    assert caught.value.code == "configuration-invalid"
    assert caught.value.message.startswith("dachub.yaml")
    for part in expected:
        assert part in caught.value.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("listen: {port: 0}\nlogs: {level: loud}\nsit: {}", "dachub.yaml")
    assert "3 faults" in caught.value.message


def test_a_secret_under_an_unknown_key_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse("login: {openid: {client_secret: hunter2-hunter2}}", "dachub.yaml")
    assert "hunter2" not in caught.value.message
    with pytest.raises(ConfigurationError) as caught:
        parse("database: {url: 'postgresql://u:hunter2@h/d'}", "dachub.yaml")
    assert "hunter2" not in caught.value.message


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_clear_error(text: str) -> None:
    message = "dachub.yaml"
    try:
        parse(text, "dachub.yaml", {"listen": {"port": 8001}})
    except ConfigurationError as error:
        message = error.message
    assert message.startswith("dachub.yaml")


def test_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "dachub.yaml"
    file.write_text("listen: {port: 9000}\n")
    assert config.load(file, {"listen": {"port": None}}).listen.port == 9000
    assert config.load(file, {"listen": {"port": 9001}}).listen.port == 9001
    assert config.load(tmp_path / "none.yaml", {"listen": {"port": 9001}}).listen.port == 9001


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "dachub.yaml"
    file.write_text(
        "tls: {certificate: site.pem, key: /etc/key.pem}\n"
        "login: {openid: {issuer: https://x, client_id: y, client_secret_file: secret}}\n"
    )
    settings = config.load(file)
    assert settings.tls.certificate == tmp_path / "site.pem"
    assert settings.tls.key == Path("/etc/key.pem")
    assert settings.login.openid is not None
    assert settings.login.openid.client_secret_file == tmp_path / "secret"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    Settings.model_validate({"listen": {"host": host}}).require_safe_listening()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example.org"])
def test_plain_http_beyond_loopback_is_refused(host: str, tmp_path: Path) -> None:
    file = tmp_path / "dachub.yaml"
    file.write_text("")
    with pytest.raises(PlainHTTPRefused) as caught:
        config.load(file, {"listen": {"host": host}})
    assert caught.value.code == "plain-http-refused"
    assert "tls.certificate" in caught.value.message
    file.write_text("listen: {behind_proxy: true}\n")
    assert config.load(file, {"listen": {"host": host}}).listen.host == host
    file.write_text("tls: {certificate: a, key: b}\n")
    assert config.load(file, {"listen": {"host": host}}).listen.host == host


OPENID = {"login": {"openid": {"issuer": "https://x", "client_id": "y"}}}


def test_client_secret_comes_from_file_or_environment(tmp_path: Path) -> None:
    settings = Settings.model_validate(OPENID)
    assert config.openid_client_secret(Settings(), {}) is None
    assert config.openid_client_secret(settings, {config.OPENID_CLIENT_SECRET: "s"}) == "s"
    with pytest.raises(ConfigurationError, match="client_secret_file"):
        config.openid_client_secret(settings, {})
    file = tmp_path / "secret"
    named = {"login": {"openid": {**OPENID["login"]["openid"], "client_secret_file": str(file)}}}
    settings = Settings.model_validate(named)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.openid_client_secret(settings, {})
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="empty"):
        config.openid_client_secret(settings, {})
    file.write_text("from-file\n")
    assert config.openid_client_secret(settings, {config.OPENID_CLIENT_SECRET: "s"}) == "from-file"


def test_database_password_is_put_into_the_url() -> None:
    settings = Settings.model_validate(
        {"database": {"url": "postgresql://u@h:5/d?sslmode=require"}}
    )
    assert config.external_database_url(Settings(), {}) is None
    assert config.external_database_url(settings, {}) == settings.database.url
    secret = {config.DATABASE_PASSWORD: "p@ss/w%rd"}
    assert (
        config.external_database_url(settings, secret)
        == "postgresql://u:p%40ss%2Fw%25rd@h:5/d?sslmode=require"
    )


def test_logs_are_kept_no_longer_than_privacy_allows() -> None:
    settings = parse("privacy: {logs_days: 60}\nlogs: {retention_days: {hub: 14}}", "x")
    assert [settings.log_days(kind) for kind in (LogKind.HUB, LogKind.PROXY)] == [14, 60]
    assert settings.log_days(LogKind.AUDIT) == settings.privacy.audit_days
    with pytest.raises(ConfigurationError, match=r"privacy\.logs_days allows 60 days"):
        parse("privacy: {logs_days: 60}\nlogs: {retention_days: {hub: 61}}", "x")
    assert parse("privacy: {logs_days: null}", "x").log_days(LogKind.HUB) is None
