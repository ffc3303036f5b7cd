"""Every way a provider fails has a name, and takes no longer than it may."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest

from dachub.hub.provider import (
    ClientRefused,
    GrantRefused,
    Provider,
    ProviderDown,
    ProviderNonsense,
)

Answer = Callable[[str], bytes | None]


class Wire:
    """An HTTP server that answers what it is told, byte for byte."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        answer = self.answers.get(head.split()[1])
        if answer is None:
            await asyncio.sleep(30)
        else:
            writer.write(answer)
        writer.close()

    def say(self, path: str, body: object, status: int = 200) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n"
        self.answers[path] = head.encode() + raw

    def discoverable(self, **more: object) -> None:
        self.say(
            "/.well-known/openid-configuration",
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                **more,
            },
        )


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield wire
    server.close()


@pytest.fixture
def provider(wire: Wire) -> Provider:
    return Provider(f"{wire.url}/", "id:1", "s%cret", 0.5)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"<html>welcome</html>", 200, ProviderNonsense),
        (b"[]", 200, ProviderNonsense),
        (b"{}", 200, ProviderNonsense),
        (b"\xff\xfe", 200, ProviderNonsense),
        (b"{}", 404, ProviderNonsense),
        (b"{}", 302, ProviderNonsense),
        (b"no", 500, ProviderDown),
        (b"busy", 429, ProviderDown),
        (b"x" * 2_000_000, 200, ProviderNonsense),
    ],
)
async def test_rubbish_instead_of_a_discovery(
    wire: Wire, provider: Provider, body: bytes, status: int, error: type[Exception]
) -> None:
    wire.say("/.well-known/openid-configuration", body, status)
    with pytest.raises(error):
        await provider.endpoints()


async def test_another_issuer(wire: Wire, provider: Provider) -> None:
    wire.discoverable(issuer="https://evil.example")
    with pytest.raises(ProviderNonsense, match=r"evil\.example"):
        await provider.endpoints()


async def test_a_provider_that_hangs(wire: Wire, provider: Provider) -> None:
    began = time.monotonic()
    with pytest.raises(ProviderDown):
        await provider.endpoints()
    assert time.monotonic() - began < 2


async def test_bytes_that_are_no_http(wire: Wire, provider: Provider) -> None:
    wire.answers["/.well-known/openid-configuration"] = b"SSH-2.0-x\r\n\r\n"
    with pytest.raises(ProviderDown):
        await provider.endpoints()


async def test_an_old_discovery_serves_through_an_outage(
    wire: Wire, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.discoverable()
    first = await provider.endpoints()
    monkeypatch.setattr("dachub.hub.provider.DISCOVERY_SECONDS", 0)
    wire.say("/.well-known/openid-configuration", b"down", 503)
    assert await provider.endpoints() == first


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"error": "invalid_client"}, 401, ClientRefused),
        ({"error": "invalid_client"}, 400, ClientRefused),
        ({"error": "unauthorized_client", "error_description": "expired"}, 400, ClientRefused),
        (b"", 401, ClientRefused),
        ({"error": "invalid_grant"}, 400, GrantRefused),
        ({"access_token": 7, "token_type": "Bearer"}, 200, ProviderNonsense),
        ({"token_type": "Bearer"}, 200, ProviderNonsense),
        (b"<html>", 200, ProviderNonsense),
        (b"", 502, ProviderDown),
    ],
)
async def test_tokens_that_are_none(
    wire: Wire, provider: Provider, body: object, status: int, error: type[Exception]
) -> None:
    wire.discoverable()
    wire.say("/token", body, status)
    with pytest.raises(error) as raised:
        await provider.tokens({"grant_type": "refresh_token"})
    assert "s%cret" not in str(raised.value)


async def test_the_secret_travels_as_the_provider_wants(wire: Wire, provider: Provider) -> None:
    wire.discoverable()
    wire.say("/token", {"access_token": "a", "token_type": "Bearer"})
    await provider.tokens({"grant_type": "refresh_token"})
    sent = base64.b64encode(b"id%3A1:s%25cret").decode()
    assert f"Basic {sent}" in wire.heads[-1]
    wire.discoverable(token_endpoint_auth_methods_supported=["client_secret_post"])
    another = Provider(wire.url, "id:1", "s%cret", 0.5)
    await another.tokens({"grant_type": "refresh_token"})
    assert "Basic" not in wire.heads[-1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 401, GrantRefused),
        (b"", 403, GrantRefused),
        (b"<", 200, ProviderNonsense),
        (b"", 503, ProviderDown),
    ],
)
async def test_claims_that_are_none(
    wire: Wire, provider: Provider, body: object, status: int, error: type[Exception]
) -> None:
    wire.discoverable()
    wire.say("/userinfo", body, status)
    with pytest.raises(error):
        await provider.claims("token")
