"""Settings of mails."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from dachub.model.settings import Section

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class MailSettings(Section):
    """The server that sends notices as e-mail; without this section none are sent."""

    host: str = Field(min_length=1, description="Name of the SMTP server")
    port: int = Field(default=587, ge=1, le=65535, description="TCP port")
    security: Literal["none", "starttls", "tls"] = Field(
        default="starttls", description="none, starttls (port 587) or tls from the start (465)"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's"
    )
    username: str | None = Field(default=None, description="To log in with, where it is needed")
    password_file: Path | None = Field(
        default=None, description="File with the password alone; else DACHUB_SMTP_PASSWORD"
    )
    sender: str = Field(description="Address that the mails come from")

    @field_validator("sender")
    @classmethod
    def _one_address(cls, sender: str) -> str:
        # As the mails' headers will be made: what fails there would fail for every mail.
        try:
            address = Address(addr_spec=sender)
        except (ValueError, IndexError, MessageError):
            address = None
        if address is None or not (address.username and address.domain):
            raise ValueError("this is no address such as dac@observatory.example")
        return sender

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if self.username and self.security == "none" and self.host not in LOOPBACK:
            raise ValueError("a password needs security: starttls or tls")
        return self
