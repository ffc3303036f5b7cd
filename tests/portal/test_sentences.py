"""The audit log in words: each kind of entry has its sentence, and odd ones break no page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.portal.conftest import Portal
from tests.portal.seed import NOW, OPERATOR

import dachub
from dachub.model.people import AuditEntry
from dachub.server.portal.sentences import SENTENCES, actor, said

RECORDED = re.compile(
    r'(?:record|note_refusal)\(\s*[\w().]+,\s*"([a-z-]+)"(?: if [^,]+ else "([a-z-]+)")?'
)


def entry(action: str, username: str | None = "max", **details: Any) -> AuditEntry:
    return AuditEntry(
        audit_id=1, at=NOW, actor="pia", action=action, username=username, group="lenses",
        details=details,
    )  # fmt: skip


def test_every_kind_of_entry_has_a_sentence() -> None:
    sources = "\n".join(
        path.read_text() for path in Path(dachub.__file__).parent.glob("*/services/*.py")
    )
    actions = {name for found in RECORDED.findall(sources) for name in found if name}
    assert {"limit-set", "limit-lifted", "login-refused", "member-added"} <= actions
    assert actions - set(SENTENCES) == set()


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (
            entry(
                "allocation-created",
                None,
                resource="core-hours",
                amount="2000",
                starts_at="2027-01-01T00:00:00+00:00",
                ends_at="2027-07-01T00:00:00+00:00",
            ),
            "gave lenses 2,000 core-hours, 1 Jan 2027 to 30 Jun 2027",
        ),
        (
            entry(
                "allocation-adjusted",
                None,
                resource="file-bytes",
                amount="500000000000",
                ends_at="2028-01-01T00:00:00+00:00",
            ),
            "changed an allocation of lenses: +500 GB of files, it ends with 31 Dec 2027",
        ),
        (
            entry("limit-set", resource="core-hours", amount="12.5"),
            "limited max to 12.5 core-hours in each period of lenses",
        ),
        (
            entry("quota-warned", resource="core-hours", used=3_600_000, allowed=7_200_000),
            "told max in lenses that 1 core-hours of 2 core-hours are used",
        ),
        (
            entry("quota-closed", None, resource="gpu-hours", used=3600, allowed=1800),
            "refuses new servers of lenses: 1 GPU-hours of 0.5 GPU-hours are used",
        ),
        (
            entry("role-changed", role="pi", old_role="manager"),
            "made max, manager until then, PI of lenses",
        ),
        (
            entry("storage-limit-set", bytes=2 * 10**12, files=9),
            "let the folder of lenses hold 2 TB and 9 files",
        ),
        (
            entry("storage-limit-set", bytes=None, files=None),
            "let the folder of lenses hold what the site lets all hold",
        ),
        (entry("core-limit-set", milli_cores=16_500), "let lenses run 16.5 cores at once"),
        (
            entry("core-limit-lifted", milli_cores=None),
            "lets lenses run as many cores at once as configured",
        ),
    ],
)
def test_entries_are_told_in_words(told: AuditEntry, what: str) -> None:
    assert said(told).what == what


@pytest.mark.parametrize(
    "odd",
    [
        entry("of-a-later-version", anything={"x": 1}),
        entry("limit-set"),
        entry("limit-set", resource="core-hours", amount="much"),
        entry("allocation-created", resource="light-years", amount="1"),
        entry("{person}", reason="{group.__class__}"),
    ],
)
def test_an_entry_that_cannot_be_told_is_named(odd: AuditEntry) -> None:
    assert said(odd).what == odd.action.replace("-", " ")


def test_who_is_no_person_is_told_by_what_it_is() -> None:
    names = ["pia", "hub", "service:quota", "operator:root"]
    assert [actor(name) for name in names] == ["pia", "the hub", "dachub", "root (operator)"]


async def test_only_administrators_see_what_exactly_was_recorded(portal: Portal) -> None:
    async with portal.process.factory() as factory:
        await factory.audit().record(
            OPERATOR, "limit-set", username="max", group="lenses", resource="core-hours",
            amount="7", reason="Told in words",
        )  # fmt: skip
    for name, exactly in (("pia", False), ("admin", True)):
        async with portal.client(name) as client:
            page = (await client.get("/services/dac/groups/lenses/history")).text
        assert "limited max to 7 core-hours in each period of lenses" in page
        assert "Told in words" in page
        assert ("<dt>Action</dt>" in page) is exactly
        assert "&#34;" not in page.replace("alert(&#39;name&#39;)&lt;/script&gt;&#34;", "")
