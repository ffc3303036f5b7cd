"""Secrets that the configuration names: from a file, else from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
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
