"""The audit log as lines of the service's log, for those who ship it: each entry at least once.

The table stays the truth. The number of an entry is its ``event.id``, by which a store of logs
knows what it has already; so whoever takes over the work tells of the last hour again.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from dachub.model.logs import LogKind
from dachub.model.people import AuditEntry
from dachub.server.factory import AuditTold, Process

log = structlog.get_logger("dachub.audit")

AGAIN = timedelta(hours=1)
# An entry is seen when its transaction is committed, which lasts no longer than this.
LATE = timedelta(minutes=3)


async def tell_audit(process: Process) -> str:
    """Log what the audit log has got since the last run."""
    told, now = process.audit_told, process.clock.now()
    since = now - AGAIN if told.until is None else min(told.until, now) - LATE
    async with process.factory() as services:
        entries = await services.audit().since(since)
    new = [entry for entry in entries if entry.audit_id not in told.ids]
    for entry in new:
        _tell(entry)
    process.audit_told = AuditTold(now, frozenset(entry.audit_id for entry in entries))
    return f"{len(new)} entries told"


def _tell(entry: AuditEntry) -> None:
    is_login = entry.action.startswith("login")  # the hub only reports it
    fields: dict[str, object | None] = {
        "@timestamp": entry.at.isoformat(),
        "event.dataset": LogKind.AUDIT.dataset,
        "event.kind": "event",
        "event.id": str(entry.audit_id),
        "event.action": entry.action,
        "event.outcome": "failure" if entry.action.endswith("-refused") else "success",
        "user.name": entry.username if is_login else entry.actor,
        "user.target.name": None if is_login else entry.username,
        "group.name": entry.group,
        "http.request.id": entry.request_id,
        "dachub.details": entry.details or None,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    log.info(f"{entry.actor}: {entry.action}", **known)
