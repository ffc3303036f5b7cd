"""Run by Alembic: migrates on the connection (and in the transaction) that it is handed."""

from __future__ import annotations

from alembic import context

from dachub.infra.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
