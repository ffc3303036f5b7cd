"""What each part is told when it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from dachub.config import ConfigurationError, load
from dachub.local.layout import Layout
from dachub.local.processes import ChildSpec
from dachub.local.supervision import Supervisor
from dachub.local.wiring import Endpoints, service_child


def service(data: Path) -> ChildSpec:
    layout = Layout(data)
    layout.create()
    layout.create_secrets()
    settings = load(layout.config)
    endpoints = Endpoints.choose(layout, settings)
    return service_child(layout, settings, endpoints, "postgresql://", Supervisor(layout))


def test_the_service_is_told_the_secrets_it_needs_and_where_the_outbox_lies(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_METRICS_TOKEN", "a-token-of-the-tests")
    data = open_directory / "data"
    data.mkdir()
    (data / "dachub.yaml").write_text(
        "mail: {host: mail.example, sender: dac@example.org, username: dac, password_file: p}\n"
    )
    with pytest.raises(ConfigurationError, match="cannot be read"):
        service(data)
    (data / "p").write_text("a-password\n")
    told = service(data).environment
    assert told["DACHUB_SMTP_PASSWORD"] == "a-password"
    assert told["DACHUB_METRICS_TOKEN"] == "a-token-of-the-tests"


def test_what_is_not_configured_is_not_told(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DACHUB_SMTP_PASSWORD", "of something else")
    told = service(open_directory / "data").environment
    assert "DACHUB_SMTP_PASSWORD" not in told
    assert "DACHUB_METRICS_TOKEN" not in told
