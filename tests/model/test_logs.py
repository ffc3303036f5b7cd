"""Nothing that looks like a secret stands in a log; everything else does."""

from __future__ import annotations

import re

import pytest

from dachub.model.logs import HIDDEN, LOG_FIELDS, SECRET_PATTERNS, LogKind, hide_secrets

SECRET = "Zx9-quite.secret_Value"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
HOSTILE = (
    f"Authorization: Bearer {SECRET}",
    f"authorization: token {SECRET}",
    f'{{"headers": {{"Authorization": "Basic {SECRET}"}}}}',
    f'{{\\"api_token\\": \\"{SECRET}\\"}}',
    f"GET /hub/login?next=%2F&token={SECRET}&x=1",
    f"GET /hub/oauth_callback?code={SECRET}&state={SECRET}",
    f"DACHUB_HUB_TOKEN={SECRET}",
    f"CONFIGPROXY_AUTH_TOKEN: '{SECRET}'",
    f"password='{SECRET}'",
    f'"client_secret" : "{SECRET} with a blank"',
    f"Cookie: _xsrf=2|abc; jupyterhub-session-id={SECRET}; a={SECRET}",
    f"set-cookie: jupyterhub-hub-login={SECRET}; Path=/hub/",
    f"connecting to postgresql://dachub:{SECRET}@db.example.org:5432/dachub",
    f"smtp://relay:p@{SECRET}@mail.example.org",
    f"401 GET /hub/api/authorizations/token/{SECRET} (@10.0.0.1)",
    f"the provider said {JWT} and no more",
    f"id_token={JWT}",
    "git push https://ghp_abcdefghij0123456789ABCD@github.com/x",
    f"stored $argon2id$v=19$m=65536,t=3,p=4${SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIE' * 8}\n-----END RSA PRIVATE KEY-----",
    f"bearer {SECRET}",
    f"PGPASSWORD={SECRET} psql",
)
HARMLESS = (
    "ada: server-failed (image-not-available)",
    "200 GET /hub/api/users?state=[secret]&offset=0&limit=200 (dac@10.244.0.127) 21.91ms",
    "The password was changed; the token expired",
    "mail.password_file: /etc/dachub/smtp-password",
    '{"error":{"code":"service-down"},"http":{"request":{"id":"31a2f8d1687747faacb90ecf77705f5a"}}}',
    "session 0199b1c2-7a5e-7000-8000-0123456789ab of virgo in astronomy:2026-11-20",
    "http://10.244.0.160:8888 is the route of /user/dora",
    "2026-11-24 14:22:38.629 UTC [83] LOG:  checkpoint complete: wrote 361 buffers (1.1%)",
)


@pytest.mark.parametrize("line", HOSTILE)
def test_what_looks_like_a_secret_is_hidden(line: str) -> None:
    shown = hide_secrets(line)
    assert HIDDEN in shown
    for secret in (SECRET, JWT, "MIIE", "ghp_", "with a blank", f"p@{SECRET}"):
        assert secret not in shown


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    assert hide_secrets(line) == line


@pytest.mark.parametrize("line", HOSTILE)
def test_hiding_twice_changes_nothing_more(line: str) -> None:
    assert hide_secrets(hide_secrets(line)) == hide_secrets(line)


def test_long_lines_are_read_in_time_that_grows_with_their_length() -> None:
    for unit in ("token", "eyJa.", "://a:", "cookie: ", "-----BEGIN "):
        hide_secrets(unit * 20_000)  # the suite's timeout is the judge


def test_the_patterns_are_of_those_that_every_program_understands() -> None:
    for pattern in SECRET_PATTERNS:
        assert re.compile(pattern).groups == 1
        assert "(?P" not in pattern
        assert "(?<" not in pattern


def test_each_kind_has_a_dataset_and_each_field_a_meaning() -> None:
    assert {kind.dataset for kind in LogKind} == {f"dachub.{kind}" for kind in LogKind}
    assert all(field.type and field.meaning for field in LOG_FIELDS.values())
