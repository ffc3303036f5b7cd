"""What providers say is read as meant, and never trusted."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dachub.hub.claims import (
    EntryRefused,
    UnusableClaims,
    check_entry,
    is_administrator,
    read_claims,
)
from dachub.hub.clock import now
from dachub.hub.settings import EntryRule, OpenIDSettings, Preset
from dachub.model.names import USERNAME_MAX, is_username, unique_username
from dachub.model.people import LoginRecord, Role


def openid(preset: Preset = "egi-check-in", **more: object) -> OpenIDSettings:
    return OpenIDSettings.model_validate(
        {"preset": preset, "issuer": "https://idp.example", "client_id": "x", **more}
    )


def groups(
    values: object, preset: Preset = "egi-check-in", claim: str = "entitlements", **more: object
) -> dict[str, Role]:
    claims = read_claims({"sub": "1", claim: values}, openid(preset, **more))
    return {one.provider_name: one.role for one in claims.memberships}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("urn:mace:egi.eu:group:LSST:role=member#aai.egi.eu", {"LSST": Role.MEMBER}),
        ("urn:mace:egi.eu:group:registry:LSST:role=member#aai.egi.eu", {"LSST": Role.MEMBER}),
        ("urn:mace:egi.eu:group:registry:LSST:role=member", {"LSST": Role.MEMBER}),
        ("urn:mace:egi.eu:group:LSST#aai.egi.eu", {"LSST": Role.MEMBER}),
        ("urn:mace:egi.eu:group:LSST:transients:role=PI#aai.egi.eu", {"LSST:transients": Role.PI}),
        ("urn:mace:egi.eu:group:LSST:role=vm_operator#x", {"LSST": Role.MANAGER}),
        ("urn:mace:egi.eu:group:Virgo%20Cluster:role=owner#x", {"Virgo Cluster": Role.PI}),
        ("urn:geant:example.org:group:LSST:role=owner#aai.egi.eu", {}),
        ("urn:mace:egi.eu.example.org:group:LSST#aai.egi.eu", {}),
        ("urn:mace:egi-eu:group:LSST#aai.egi.eu", {}),
        ("urn:mace:egi.eu:group:foo:group:LSST#x", {"foo:group:LSST": Role.MEMBER}),
        ("urn:mace:egi.eu:group:A%3AB:role=member#x", {"A%3AB": Role.MEMBER}),
        ("urn:mace:egi.eu:group:%C3%89toiles:role=member#x", {"Étoiles": Role.MEMBER}),
        ("urn:mace:egi.eu:group:%FF%FE:role=member#x", {}),
        ("urn:mace:egi.eu:group:", {}),
        ("urn:mace:egi.eu:res:LSST#x", {}),
        ("x urn:mace:egi.eu:group:LSST:role=member#x", {}),
        ("", {}),
    ],
)
def test_entitlements_old_and_new(value: str, expected: dict[str, Role]) -> None:
    assert groups([value]) == expected
    assert groups(value) == expected


def test_the_strongest_role_counts() -> None:
    base = "urn:mace:egi.eu:group:LSST"
    values = [f"{base}:role=member#x", f"{base}:role=pi#x", f"{base}:role=manager#x"]
    assert groups(values) == {"LSST": Role.PI}


def test_a_subgroup_is_not_the_group_above() -> None:
    assert groups(["urn:mace:egi.eu:group:LSST:sub:role=member#x"]) == {"LSST:sub": Role.MEMBER}


@pytest.mark.parametrize(
    "claim", ["entitlements", "eduperson_entitlement", "edu_person_entitlements"]
)
def test_the_claim_that_drifted_is_found(claim: str) -> None:
    assert groups(["urn:mace:egi.eu:group:A#x"], claim=claim) == {"A": Role.MEMBER}


@pytest.mark.parametrize(
    "like", ["admins{}", "{}admins", "admins{}:role=pi", "registry:{}admins", "a{}{}b"]
)
@pytest.mark.parametrize(
    "hidden", [" ", "  ", "\n", "\r\n", "\0", "\u200b", "\u00a0", "\u202e", "\ufeff", "\ue000"]
)
def test_a_name_with_something_hidden_in_it_passes_for_no_other_group(
    like: str, hidden: str
) -> None:
    for written in (hidden, quote(hidden)):
        value = f"urn:mace:egi.eu:group:{like.replace('{}', written)}"
        assert groups([value]) == {}
        assert groups([like.replace("{}", written)], "generic", "groups") == {}


def test_names_too_long_to_be_kept_apart_are_no_groups() -> None:
    assert groups(["x" * 500], "generic", "groups") == {"x" * 500: Role.MEMBER}
    assert groups(["x" * 500 + "1", "x" * 500 + "2"], "generic", "groups") == {}


@pytest.mark.parametrize("preset", ["iris-iam", "keycloak", "generic"])
def test_plain_group_names(preset: Preset) -> None:
    assert groups(["/virgo/deep", "coma"], preset, "groups") == {
        "virgo:deep": Role.MEMBER,
        "coma": Role.MEMBER,
    }


def test_a_pattern_of_the_site_s_own() -> None:
    found = groups(
        ["cn=virgo-pi"], "generic", "groups", groups_pattern=r"^cn=(?P<group>.+)-(?P<role>\w+)$"
    )
    assert found == {"virgo": Role.PI}


@pytest.mark.parametrize("pattern", ["(", r"^(.*)$"])
def test_a_pattern_that_cannot_work_is_refused_with_the_settings(pattern: str) -> None:
    with pytest.raises(ValueError, match="groups_pattern"):
        openid(groups_pattern=pattern)


@pytest.mark.parametrize("issuer", ["http://idp.example", "ftp://x", "idp.example", "http:///x"])
def test_an_issuer_that_could_be_impersonated_is_refused_with_the_settings(issuer: str) -> None:
    with pytest.raises(ValueError, match="https"):
        openid(issuer=issuer)
    assert openid(issuer="http://127.0.0.1:8080/realm")
    assert openid(issuer="http://localhost/realm")


@pytest.mark.parametrize("sub", [None, "", 7, ["x"], "a\0b", "x" * 10_000])
def test_without_a_subject_nobody_comes_in(sub: object) -> None:
    with pytest.raises(UnusableClaims):
        read_claims({"sub": sub}, openid())
    with pytest.raises(UnusableClaims):
        read_claims({}, openid())


@pytest.mark.parametrize(
    ("name", "candidate"),
    [
        ("Ada.Lovelace", "ada-lovelace"),
        ("x'; DROP TABLE users; --", "x-drop-table-users"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("Ünïcødé", "unicde"),
        ("李小龙", ""),
        ("a" * 10_000, "a" * 32),
        ("line\nbreak", "line-break"),
        (None, ""),
        ({"a": 1}, ""),
    ],
)
def test_hostile_names_become_safe_ones(name: object, candidate: str) -> None:
    claims = read_claims({"sub": "1", "preferred_username": name, "name": name}, openid())
    assert claims.candidate == candidate
    assert "\n" not in claims.full_name
    assert len(claims.full_name) <= 500
    assert is_username(unique_username(claims.candidate, "https://idp", "1"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
ENTITLEMENT = st.builds(
    "urn:mace:egi.eu:group:{}{}#{}".format,
    st.text(max_size=80),
    st.sampled_from(["", ":role=member", ":role=pi", ":role=%70i", ":role="]),
    st.text(max_size=10),
)


@given(
    sub=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text),
    name=JSON,
    username=JSON,
    email=JSON,
    entitlements=JSON | st.lists(ENTITLEMENT | JSON, max_size=6),
    affiliation=JSON,
)
@settings(max_examples=300, deadline=None)
def test_any_claims_make_a_login_record_or_a_clear_refusal(
    sub: str,
    name: object,
    username: object,
    email: object,
    entitlements: object,
    affiliation: object,
) -> None:
    claims = read_claims(
        {
            "sub": sub,
            "name": name,
            "preferred_username": username,
            "email": email,
            "entitlements": entitlements,
            "eduperson_scoped_affiliation": affiliation,
        },
        openid(),
    )
    record = LoginRecord(
        issuer="https://idp.example",
        subject=claims.subject,
        candidate=claims.candidate,
        full_name=claims.full_name,
        email=claims.email,
        affiliations=list(claims.affiliations),
        memberships=list(claims.memberships),
        at=now(),
    )
    assert LoginRecord.model_validate_json(record.model_dump_json()) == record
    assert claims.candidate == "" or is_username(claims.candidate)
    assert len(claims.candidate) <= USERNAME_MAX
    for text in (claims.full_name, claims.email, *claims.affiliations, *claims.groups):
        assert text.isprintable()


def person(*names: str, **more: object) -> tuple[object, OpenIDSettings]:
    settings = openid("generic", **more)
    return read_claims({"sub": "1", "groups": list(names)}, settings), settings


def test_entry_by_any_and_all() -> None:
    rule = {"any_of": ["virgo", "coma"], "all_of": ["dac"]}
    for names, enters in [
        (("virgo", "dac"), True),
        (("virgo",), False),
        (("dac",), False),
        ((), False),
        (("virgo:sub", "dac"), False),
    ]:
        claims, settings = person(*names, required_groups=EntryRule.model_validate(rule))
        if enters:
            check_entry(claims, settings, "help@example.org")  # type: ignore[arg-type]
        else:
            with pytest.raises(EntryRefused) as refusal:
                check_entry(claims, settings, "help@example.org")  # type: ignore[arg-type]
            assert "help@example.org" in refusal.value.message


def test_administrators_come_from_their_group_only() -> None:
    for names, administers in [(("admins",), True), (("admins:sub",), False), (("x",), False)]:
        claims, settings = person(*names, administrator_groups=["admins"])
        assert is_administrator(claims, settings) is administers  # type: ignore[arg-type]
