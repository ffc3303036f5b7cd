"""Tables of what was exported."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal


class ExportRunRow(Base):
    """An export: recorded as ``prepared`` before anything is written, ``done`` afterwards."""

    __tablename__ = "export_run"
    __table_args__ = (
        Index(
            "uq_export_run_prepared",
            "format",
            unique=True,
            postgresql_where=text("state = 'prepared'"),
        ),
    )
    personal = Personal(
        others=("prepared_by",),
        plain=("format", "state", "destination"),
        term="audit",
        since="prepared_at",
    )

    run_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    format: Mapped[str] = mapped_column(String(20))
    since: Mapped[datetime]
    until: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(10))
    destination: Mapped[str]
    records: Mapped[int] = mapped_column(BigInteger)
    milli_core_seconds: Mapped[int] = mapped_column(BigInteger)
    exported_milli_core_seconds: Mapped[int] = mapped_column(BigInteger)
    prepared_at: Mapped[datetime]
    prepared_by: Mapped[str]
    done_at: Mapped[datetime | None]


class ExportFileRow(Base):
    """A file of an export; ``number`` counts those of a run."""

    __tablename__ = "export_file"
    personal = Personal(plain=("name", "sha256"))

    run_id: Mapped[int] = mapped_column(ForeignKey("export_run.run_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class ExportPartRow(Base):
    """The next part of a file, compressed; kept only until the export is done."""

    __tablename__ = "export_part"
    # The names in a content are gone with it, once the export is done.
    personal = Personal(plain=("content",))

    run_id: Mapped[int] = mapped_column(ForeignKey("export_run.run_id"), primary_key=True)
    file: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes]


class ExportItemRow(Base):
    """What was sent of a session; holds no names, so that it can be kept for ever."""

    __tablename__ = "export_item"
    __table_args__ = (
        Index(None, "session_id", "format", "month"),
        Index(None, "format", "month"),
        Index(None, "run_id"),
        # A job that Open XDMoD is told of twice counts twice.
        Index(
            "uq_export_item_job",
            "session_id",
            unique=True,
            postgresql_where=text("format = 'xdmod-jobs'"),
        ),
    )
    personal = Personal(
        through=("session_id", "session"),
        plain=("format", "status", "sha256"),
        sent_as="format",
    )

    item_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("export_run.run_id"))
    format: Mapped[str] = mapped_column(String(20))
    session_id: Mapped[UUID]
    month: Mapped[date]
    status: Mapped[str] = mapped_column(String(10))
    started_at: Mapped[datetime]
    measured_at: Mapped[datetime]
    seconds: Mapped[int] = mapped_column(BigInteger)
    milli_core_seconds: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
