"""Every table says what it holds of people: a new one that does not fails here."""

from __future__ import annotations

from typing import get_args

import pytest
from sqlalchemy import LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB

from dachub import migrations
from dachub.infra.database import Base
from dachub.infra.personal import Personal, Term
from dachub.privacy.settings import PrivacySettings

assert migrations.head(), "importing it registers every table"
CLASSES = sorted(
    (mapper.class_ for mapper in Base.registry.mappers), key=lambda each: str(each.__name__)
)
ALL = [
    pytest.param(each.__table__, each.personal, id=each.__tablename__)
    for each in CLASSES
    if hasattr(each, "personal")
]


def test_every_table_states_what_it_holds_of_people() -> None:
    silent = [
        each.__name__
        for each in CLASSES
        if not isinstance(getattr(each, "personal", None), Personal)
    ]
    assert silent == [], "state `personal` beside the columns, see dachub.infra.personal"


@pytest.mark.parametrize(("table", "personal"), ALL)
def test_every_text_is_stated_to_be_a_name_personal_or_plain(
    table: object, personal: Personal
) -> None:
    texts = {
        column.name
        for column in table.columns  # type: ignore[attr-defined]
        if isinstance(column.type, String | JSONB | LargeBinary)
    }
    assert texts - personal.stated == set(), "may these hold a name, or what was said of a person?"


@pytest.mark.parametrize(("table", "personal"), ALL)
def test_a_statement_speaks_of_columns_that_there_are(table: object, personal: Personal) -> None:
    columns = {column.name for column in table.columns}  # type: ignore[attr-defined]
    named = set(personal.stated | set(personal.sums))
    named |= {personal.since} if personal.since else set()
    named |= {personal.only_where[0]} if personal.only_where else set()
    assert named <= columns
    assert (personal.term is None) == (personal.since is None)


def test_every_term_is_a_setting_with_a_default() -> None:
    for term in get_args(Term):
        assert f"{term}_days" in PrivacySettings.model_fields
