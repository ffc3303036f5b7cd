"""A platform's database that has seen sessions, and ways to read what was exported of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid5

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.exports import ExportRun
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent
from dachub.model.storage import StorageMethod
from dachub.reports.formats import apel
from dachub.server.factory import Factory
from dachub.storage.models import Measurement

Thing = TypeVar("Thing")

OPERATOR = Principal("operator:tests", PrincipalKind.OPERATOR)
SPACE = UUID("5b0f2c62-8a57-4d3e-a8e8-1f8d94a6ab34")


def session_id(name: str) -> UUID:
    """Id of the session of this name."""
    return uuid5(SPACE, name)


def ran(
    name: str,
    start: datetime,
    end: datetime | None = None,
    *,
    username: str = "ada",
    group: str = "lensing",
    milli_cores: int = 1000,
    gpus: int = 0,
    estimate: bool = False,
) -> list[SessionEvent]:
    """The events of a session, as the hub tells them."""
    session = SessionDescription(
        session_id=session_id(name),
        username=username,
        group=group,
        server_name=name,
        size="small",
        environment="astronomy",
        milli_cores=milli_cores,
        memory_bytes=2**31,
        gpus=gpus,
        requested_at=start - timedelta(seconds=20),
    )
    told = [happened(session, EventKind.STARTED, start, start)]
    if end is not None:
        told.append(happened(session, EventKind.STOPPED, start, end, estimate=estimate))
    return told


def happened(
    session: SessionDescription,
    kind: EventKind,
    start: datetime,
    at: datetime,
    *,
    estimate: bool = False,
) -> SessionEvent:
    """Something that happened to a session."""
    return SessionEvent(
        event_id=uuid5(SPACE, f"{session.session_id}{kind}{at}{estimate}"),
        kind=kind,
        session=session,
        at=at,
        started_at=start,
        end_reason=EndReason.LOST if estimate else None,
        end_is_estimate=estimate,
    )


@dataclass
class ApelServer:
    """What APEL's server makes of messages: it replaces by (VM, month), and charges differences."""

    records: dict[tuple[str, tuple[int, int]], apel.Measured] = field(default_factory=dict)

    def load(self, messages: Sequence[bytes]) -> None:
        """Take messages in their order."""
        for message in messages:
            for record in apel.read_message(message):
                self.records[record.uuid, record.month] = record

    def wall_seconds(self) -> dict[tuple[str, tuple[int, int]], int]:
        """Seconds charged to each session in each month; what is nothing is left out."""
        charged: dict[tuple[str, tuple[int, int]], int] = {}
        before: dict[str, int] = {}
        for (uuid, month), record in sorted(self.records.items()):
            seconds = record.wall_seconds - before.get(uuid, 0)
            before[uuid] = record.wall_seconds
            if seconds:
                charged[uuid, month] = seconds
        return charged

    def milli_core_seconds(self) -> Counter[tuple[int, int]]:
        """What is charged in each month."""
        charged: Counter[tuple[int, int]] = Counter()
        for (uuid, month), seconds in self.wall_seconds().items():
            charged[month] += int(seconds * self.records[uuid, month].cores * 1000)
        return charged


def utc(*parts: int) -> datetime:
    """A moment in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


def measured(allocated_bytes: int, size_bytes: int = 1) -> Measurement:
    """What a walk found in a place."""
    return Measurement(
        method=StorageMethod.WALK, bytes=size_bytes, allocated_bytes=allocated_bytes, files=7
    )


async def each(things: Iterable[Thing]) -> AsyncIterator[Thing]:
    """``things`` one after the other, as they come from a stream."""
    for thing in things:
        yield thing


async def content(services: Factory, run: ExportRun) -> list[bytes]:
    """What the files of a prepared run will hold."""
    exports = services.exports()
    return [
        b"".join([part async for part in exports.content(run.run_id, file.name)])
        for file in run.files
    ]
