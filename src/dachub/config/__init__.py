"""``dachub.yaml``: its tree of settings, reading and writing it, and the secrets it names."""

from dachub.config.reading import load, merged, parse, section_in
from dachub.config.secrets import (
    DATABASE_SECRET,
    OPENID_SECRET,
    SMTP_SECRET,
    external_database_url,
    metrics_token,
    openid_client_secret,
    read_secret,
    smtp_password,
)
from dachub.config.tree import (
    DATABASE_PASSWORD,
    DATABASE_URL,
    LOGS_PASSWORD,
    METRICS_TOKEN,
    OPENID_CLIENT_SECRET,
    SMTP_PASSWORD,
    ConfigurationError,
    ListenSettings,
    MetricsSettings,
    PlainHTTPRefused,
    Settings,
    SyntheticSettings,
    TLSSettings,
)
from dachub.config.writing import bounds, commented_text

__all__ = [
    "DATABASE_PASSWORD",
    "DATABASE_SECRET",
    "DATABASE_URL",
    "LOGS_PASSWORD",
    "METRICS_TOKEN",
    "OPENID_CLIENT_SECRET",
    "OPENID_SECRET",
    "SMTP_PASSWORD",
    "SMTP_SECRET",
    "ConfigurationError",
    "ListenSettings",
    "MetricsSettings",
    "PlainHTTPRefused",
    "Settings",
    "SyntheticSettings",
    "TLSSettings",
    "bounds",
    "commented_text",
    "external_database_url",
    "load",
    "merged",
    "metrics_token",
    "openid_client_secret",
    "parse",
    "read_secret",
    "section_in",
    "smtp_password",
]
