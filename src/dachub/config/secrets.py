"""Secrets that the configuration names: from a file, else from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dachub.config.tree import (
    DATABASE_PASSWORD,
    DATABASE_URL,
    METRICS_TOKEN,
    OPENID_CLIENT_SECRET,
    SMTP_PASSWORD,
    ConfigurationError,
    Settings,
)

TOKEN_MIN_CHARACTERS = 16


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


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A secret whose file the configuration may name.

    Attributes
    ----------
    setting
        Where it does, such as ``mail.password_file``.
    variable
        Of the environment, where it does not.
    """

    setting: str
    variable: str

    def read(self, settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
        """The secret; ``None`` where it is nowhere, or the section not there.

        Raises
        ------
        ConfigurationError
            If the file cannot be read or is empty.
        """
        *sections, key = self.setting.split(".")
        section: Any = settings
        for name in sections:
            section = getattr(section, name)
        return (
            None if section is None else read_secret(getattr(section, key), self.variable, environ)
        )

    def require(self, settings: Settings, lacking: str, environ: Mapping[str, str]) -> str:
        """The secret.

        Raises
        ------
        ConfigurationError
            If it is nowhere; begins with ``lacking``.
        """
        secret = self.read(settings, environ)
        if secret is None:
            raise ConfigurationError(
                f"{lacking}: name a file in {self.setting}, or set {self.variable}."
            )
        return secret


DATABASE_SECRET = NamedSecret("database.password_file", DATABASE_PASSWORD)
OPENID_SECRET = NamedSecret("login.openid.client_secret_file", OPENID_CLIENT_SECRET)
SMTP_SECRET = NamedSecret("mail.password_file", SMTP_PASSWORD)
METRICS_SECRET = NamedSecret("metrics.token_file", METRICS_TOKEN)


def openid_client_secret(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret this site has with its OpenID provider, if there is a provider.

    Raises
    ------
    ConfigurationError
        If there is a provider but no secret for it.
    """
    if settings.login.openid is None:
        return None
    lacking = "login.openid is set, but not the client secret"
    return OPENID_SECRET.require(settings, lacking, environ)


def smtp_password(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The password for the mail server; ``None`` where no mails are sent, or without a login.

    Raises
    ------
    ConfigurationError
        If there is a username but no password for it.
    """
    if settings.mail is None or settings.mail.username is None:
        return None
    return SMTP_SECRET.require(settings, "mail.username is set, but not the password", environ)


def metrics_token(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token that Prometheus shows; ``None`` where only administrators may look.

    Raises
    ------
    ConfigurationError
        If it is so short that it could be guessed.
    """
    token = METRICS_SECRET.read(settings, environ)
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
    password = DATABASE_SECRET.read(settings, environ)
    parts = urlsplit(url)
    if password is None or parts.username is None:
        return url
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{address}").geturl()
