"""What the doctor says of a ledger."""

from __future__ import annotations

from pathlib import Path

from dachub.local.doctor import _check_ledger
from dachub.local.status import DatabaseStatus, PlatformStatus


def test_quotas_that_are_not_enforced_are_told_with_the_reason(database_url: str) -> None:
    status = PlatformStatus(
        data=Path("/srv/dachub"),
        running=True,
        public_url=None,
        parts=[],
        versions={},
        database=DatabaseStatus(answers=True),
        outbox=None,
        enforcement="held: the clock was set back by 0:04:00; settling",
        enforcement_held=True,
    )
    (finding,) = [one for one in _check_ledger(status, database_url) if one.code == "quotas-held"]
    assert finding.severity == "warning"
    assert finding.what == ("Quotas are not enforced: the clock was set back by 0:04:00; settling.")
    healthy = status.model_copy(update={"enforcement": "fine", "enforcement_held": False})
    assert all(one.code != "quotas-held" for one in _check_ledger(healthy, database_url))
