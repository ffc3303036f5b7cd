"""Commands on people and groups."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.cli.conftest import Command

PASSWORD = "correct horse battery\n"


def test_people(dachub: Command) -> None:
    assert dachub("user", "list", "--json").json() == []
    added = dachub(
        "user", "add", "ada", "--full-name", "Ada", "--email", "ada@example.org",
        "--administrator", "--password-stdin", "--json", stdin=PASSWORD,
    ).json()  # fmt: skip
    assert (added["username"], added["administrator"], added["issuer"]) == ("ada", True, "local")
    assert "ada" in dachub("user", "list").out
    assert [person["username"] for person in dachub("user", "list", "--json").json()] == ["ada"]
    assert dachub("user", "show", "ada", "--json").json()["email"] == "ada@example.org"
    again = dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD)
    assert (again.code, "[conflict]" in again.err) == (1, True)
    disabled = dachub("user", "disable", "ada", "--reason", "left", "--json").json()
    assert disabled["disabled_reason"] == "left"
    assert dachub("user", "enable", "ada", "--json").json()["disabled_at"] is None
    assert (
        dachub("user", "password", "ada", "--password-stdin", stdin="another one here\n").code == 0
    )
    weak = dachub("user", "password", "ada", "--password-stdin", stdin="short\n")
    assert weak.code == 1
    assert "at least" in weak.err
    unknown = dachub("user", "show", "nobody-here")
    assert (unknown.code, "[not-found]" in unknown.err) == (1, True)


def test_no_password_without_a_terminal(dachub: Command) -> None:
    refused = dachub("user", "add", "ada", stdin=PASSWORD)
    assert refused.code == 1
    assert "--password-stdin" in refused.err


def test_passwords_are_not_printed_nor_audited(dachub: Command) -> None:
    outcomes = [
        dachub("user", "add", "ada", "--password-stdin", stdin=PASSWORD),
        dachub("user", "show", "ada", "--json"),
        dachub("audit", "--json"),
    ]
    for outcome in outcomes:
        assert "horse" not in outcome.out + outcome.err
        assert "argon2" not in outcome.out + outcome.err


def test_groups(dachub: Command) -> None:
    for name in ("ada", "bob"):
        dachub("user", "add", name, "--password-stdin", stdin=PASSWORD)
    added = dachub("group", "add", "ztf-bright", "--title", "Bright things", "--json").json()
    assert (added["slug"], added["title"]) == ("ztf-bright", "Bright things")
    wrong = dachub("group", "add", "Not A Slug")
    assert (wrong.code, "[invalid-input]" in wrong.err) == (1, True)
    assert dachub("group", "set-pi", "ztf-bright", "ada", "--json").json()["role"] == "pi"
    dachub("group", "add-member", "ztf-bright", "bob", "--role", "manager")
    members = dachub("group", "members", "ztf-bright", "--json").json()
    assert {member["username"]: member["role"] for member in members} == {
        "ada": "pi",
        "bob": "manager",
    }
    assert dachub("group", "show", "ztf-bright", "--json").json()["pis"] == ["ada"]
    assert dachub("group", "remove-member", "ztf-bright", "bob").code == 0
    members = dachub("group", "members", "ztf-bright", "--json").json()
    assert [member["username"] for member in members] == ["ada"]
    history = dachub("group", "members", "ztf-bright", "--history", "--json").json()
    assert {member["username"] for member in history} == {"ada", "bob"}
    assert dachub("group", "show", "none").code == 1
    assert [group["slug"] for group in dachub("group", "list", "--json").json()] == ["ztf-bright"]
    assert dachub("group", "add-member", "ztf-bright", "bob", "--role", "king").code == 2


def test_a_person_is_forgotten_and_their_data_exported(dachub: Command, tmp_path: Path) -> None:
    dachub("user", "add", "zora", "--password-stdin", stdin="correct horse battery\n")
    archive = tmp_path / "zora.zip"
    assert "zora.zip" in dachub("user", "export-data", "zora", "--output", str(archive)).out
    assert archive.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(archive) as opened:
        assert {"README.txt", "person.json", "audit.json"} <= set(opened.namelist())
    nowhere = dachub("user", "export-data", "zora", "--output", str(tmp_path / "no" / "where.zip"))
    assert nowhere.code == 1
    assert "cannot be written" in nowhere.err
    asked = dachub("user", "forget", "zora", "--reason", "asked by mail")
    assert asked.code == 0, asked.err
    assert "within a minute" in asked.out
    assert "home directory" in asked.out
    again = dachub("user", "forget", "zora", "--reason", "asked by mail", "--json")
    assert "being forgotten already" in again.err
    assert "being forgotten" in dachub("user", "enable", "zora").err
