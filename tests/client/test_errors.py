"""Every failure says what to do, and never shows the token."""

from __future__ import annotations

import json
import socket

import pytest
from tests.client.conftest import TOKEN, Service

from dachub import DAC
from dachub.client import BadAnswer, NotConfigured, RequestRefused, ServiceUnreachable


def problem(status: int, code: str, detail: str, request_id: str | None = None) -> bytes:
    return json.dumps(
        {"title": "t", "status": status, "code": code, "detail": detail, "request_id": request_id}
    ).encode()


def test_a_refusal_says_what_the_service_said(dac: DAC, service: Service) -> None:
    body = problem(403, "permission-denied", "Only a PI may see this.")
    service.fail("/usage", 403, body, "application/problem+json")
    with pytest.raises(RequestRefused, match="Only a PI may see this") as error:
        dac.usage(group="other")
    assert error.value.problem.code == "permission-denied"
    assert error.value._render_traceback_() == ["RequestRefused: Only a PI may see this."]


def test_a_fault_of_the_service_can_be_traced(dac: DAC, service: Service) -> None:
    body = problem(500, "internal", "Something broke.", request_id="abc123")
    service.fail("/me", 500, body, "application/problem+json")
    with pytest.raises(RequestRefused, match=r"Something broke. \(request abc123\)"):
        _ = dac.me


def test_a_dead_token_leads_to_the_token_page(url: str) -> None:
    with pytest.raises(RequestRefused, match=f"new one at {url}/hub/token") as error:
        _ = DAC(url, "expired-token").me
    assert "expired-token" not in str(error.value)
    assert error.value.problem.status == 401


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_service_that_is_down_is_no_reason_to_panic(
    dac: DAC, service: Service, status: int
) -> None:
    service.fail("/me", status, b"<html>proxy</html>")
    with pytest.raises(ServiceUnreachable, match="try again in a minute"):
        _ = dac.me


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ServiceUnreachable, match="ConnectError"):
            _ = DAC(address, TOKEN).me


def test_a_service_that_hangs_is_given_up() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        dac = DAC(f"http://127.0.0.1:{mute.getsockname()[1]}", TOKEN)
        dac._connection._timeout_seconds = 0.2
        with pytest.raises(ServiceUnreachable, match="ReadTimeout"):
            _ = dac.me


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>log in</html>"),
        (200, b'{"username": 5}'),
        (302, b""),
        (404, b"nothing"),
        (500, b"\xff"),
        (418, b'{"error": "x"}'),
    ],
)
def test_what_is_not_the_service_is_told_apart(
    dac: DAC, service: Service, status: int, body: bytes
) -> None:
    service.fail("/me", status, body)
    with pytest.raises(BadAnswer):
        _ = dac.me


def test_without_address_or_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DACHUB_API_URL", raising=False)
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    with pytest.raises(NotConfigured, match=r"DAC\(url="):
        DAC()
    with pytest.raises(NotConfigured, match=r"https://dac\.example\.org/hub/token"):
        DAC("https://dac.example.org")
    for nonsense in ("dac.example.org", "ftp://dac.example.org", "https://", "http://[::1"):
        with pytest.raises(NotConfigured, match="is not an address"):
            DAC(nonsense, TOKEN)


def test_a_proxy_never_sees_a_loopback_token(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    assert DAC(url, TOKEN).me.username == "ada"


def test_the_token_is_in_no_repr(dac: DAC) -> None:
    assert TOKEN not in repr(dac)
    assert TOKEN not in repr(dac._connection)
