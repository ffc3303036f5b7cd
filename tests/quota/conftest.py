"""The services of quotas and of the ledger below them, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import accounting, describe, lensing  # noqa: F401  fixtures
from tests.quota.watchman import watchman  # noqa: F401  a fixture

from dachub.directory.services import Directory
from dachub.directory.settings import DirectorySettings
from dachub.infra.clock import Clock, HeldClock
from dachub.model.site import RESCUE_SIZE, Size
from dachub.model.software import Environment
from dachub.notices.services import Notices
from dachub.quota.models import Offer, StartCheck
from dachub.quota.services import Quota
from dachub.quota.settings import QuotaSettings

OFFER = Offer(
    sizes=(
        Size(name="small", milli_cores=1000, memory_bytes=2**31),
        Size(name="large", milli_cores=4000, memory_bytes=2**33, groups=("lensing",)),
    ),
    environments=(Environment(name="astronomy"),),
    rescue=Size(name=RESCUE_SIZE, milli_cores=500, memory_bytes=2**30),
    contact="help@observatory.example",
)


class Services(Quota):
    """What allows, and what tells of use, on one session."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: QuotaSettings | None = None,
        start_checks: Sequence[StartCheck] = (),
    ) -> None:
        ledger = accounting(session, clock)
        directory = Directory(session, clock, DirectorySettings())
        super().__init__(
            session,
            clock,
            settings or QuotaSettings(),
            OFFER,
            directory,
            Notices(session, clock, directory, mails=False),
            ledger,
            start_checks=start_checks,
        )
        self.ledger = ledger.ledger
        self.sessions = ledger.sessions
        self.corrections = ledger.corrections
        self.usage = ledger.usage
        self.reconciler = ledger.reconciler
        self.workers = ledger.workers


@pytest.fixture
def services(db: AsyncSession, clock: HeldClock) -> Services:
    """Services whose work is rolled back."""
    return Services(db, clock)
