"""The pool of connections, and its errors, on a real PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from dachub.infra.database import create_engine, session_maker, transaction


async def test_connections_that_died_while_idle_are_replaced_before_they_are_used(
    database_url: str,
) -> None:
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as one, transaction(sessions) as two:
        before = [await each.scalar(text("select pg_backend_pid()")) for each in (one, two)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for pid in before:
            connection.execute("select pg_terminate_backend(%s, 5000)", [pid])
    async with transaction(sessions) as one, transaction(sessions) as two:
        after = [await each.scalar(text("select pg_backend_pid()")) for each in (one, two)]
    assert set(before).isdisjoint(after)
    await engine.dispose()


async def test_what_a_statement_was_given_is_not_in_its_error(engine: AsyncEngine) -> None:
    with pytest.raises(DBAPIError) as refused:
        async with engine.connect() as connection:
            await connection.execute(text("select no_such(:given)"), {"given": "a hash"})
    assert "no_such" in str(refused.value)
    assert "a hash" not in str(refused.value)
