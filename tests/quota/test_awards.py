"""The site's own awards: what everybody used of them, and where that leads."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.quota.conftest import Services

from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.awards import SiteAward
from dachub.model.problems import PermissionDenied
from dachub.model.usage import Resource
from dachub.quota.settings import QuotaSettings

AWARD = SiteAward(title="RAC 27", amount=1000, starts=date(2027, 1, 1), ends=date(2027, 3, 31))


async def test_standing_counts_everybody_and_projects_the_last_thirty_days(
    db: AsyncSession, clock: HeldClock, describe: Describe
) -> None:
    settings = QuotaSettings(
        site_awards=(
            AWARD,
            AWARD.model_copy(update={"resource": Resource.FILE_BYTES}),
            AWARD.model_copy(update={"starts": date(2026, 1, 1), "ends": date(2026, 3, 31)}),
        )
    )
    services = Services(db, clock, settings)
    now = clock.now()
    start = now - timedelta(days=30)
    for username in ("ada", "grace"):
        session = describe(username=username, requested_at=start)
        await services.ledger().apply(life(session, start, start + timedelta(hours=60)))
    hours, stored = await services.awards().standing(ADMINISTRATOR)
    assert (hours.amount, hours.used) == (1000 * 3_600_000, 120 * 3_600_000)
    left = AWARD.until - now
    assert hours.projected is not None
    assert (
        hours.projected
        == 120 * 3_600_000 * int(left.total_seconds()) // (30 * 86400) + 120 * 3_600_000
    )
    assert (stored.used, stored.projected) == (None, None)


async def test_only_administrators_see_awards(db: AsyncSession, clock: HeldClock) -> None:
    with pytest.raises(PermissionDenied):
        await Services(db, clock).awards().standing(Principal("ada", PrincipalKind.PERSON))


def test_an_award_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="before its first"):
        SiteAward(title="x", amount=1, starts=date(2027, 2, 1), ends=date(2027, 1, 1))
