"""A real OpenID provider on loopback, whose people and claims the test sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

CLIENT_ID = "dachub-test"
CLIENT_SECRET = "secret-of-the-test"


@dataclass(frozen=True, slots=True)
class Provider:
    """A running provider."""

    issuer: str

    def put_person(self, subject: str, **claims: Any) -> None:
        """Let somebody exist, with claims; an earlier version of them is replaced."""
        answer = httpx.put(
            f"{self.issuer}/users/{subject}", json=claims, trust_env=False, timeout=10
        )
        answer.raise_for_status()

    def revoke(self, subject: str) -> None:
        """End somebody's tokens."""
        url = f"{self.issuer}/users/{subject}/revoke-tokens"
        httpx.post(url, trust_env=False, timeout=10).raise_for_status()

    def register(self, redirect_url: str) -> str:
        """Register a client that has a secret nobody is told, and give its id."""
        answer = httpx.post(
            f"{self.issuer}/oauth2/clients",
            json={"redirect_uris": [redirect_url]},
            trust_env=False,
            timeout=10,
        )
        answer.raise_for_status()
        return str(answer.json()["client_id"])


def entitlement(group: str, role: str = "member") -> str:
    """Entitlement (AARC-G069) that says: member of ``group`` (subgroups by ``:``)."""
    return f"urn:mace:egi.eu:group:{group}:role={role}#aai.egi.eu"


@contextmanager
def openid_provider() -> Iterator[Provider]:
    """Run a provider that takes any client."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries about one another
        import oidc_provider_mock

        with oidc_provider_mock.run_server_in_thread() as server:
            yield Provider(f"http://localhost:{server.server_port}")
