"""The site's own awards, against what everybody used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dachub.accounting.services import UsageService
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.awards import AwardStanding, SiteAward
from dachub.model.usage import Resource
from dachub.quota.settings import QuotaSettings

RATE_PERIOD = timedelta(days=30)
"""The projection goes on as in the last so many days."""


class AwardService:
    """Says how the awards of ``quota.site_awards`` stand."""

    def __init__(self, usage: UsageService, clock: Clock, settings: QuotaSettings) -> None:
        self._usage = usage
        self._clock = clock
        self._settings = settings

    async def standing(
        self, by: Principal, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[AwardStanding]:
        """Awards that overlap [since, until), by default those in force now, each as of now.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        now = self._clock.now()
        since, until = since or now, until or now + timedelta(seconds=1)
        return [
            await self._standing(by, award, now)
            for award in self._settings.site_awards
            if award.since < until and award.until > since
        ]

    async def _standing(self, by: Principal, award: SiteAward, now: datetime) -> AwardStanding:
        used = await self._used(by, award.resource, award.since, award.until)
        projected = used
        if used is not None and award.since < now < award.until:
            recent = max(award.since, now - RATE_PERIOD)
            lately = await self._used(by, award.resource, recent, now)
            projected = used + (lately or 0) * int((award.until - now).total_seconds()) // int(
                (now - recent).total_seconds()
            )
        return AwardStanding(
            award=award,
            amount=int(award.amount * award.resource.base_units),
            used=used,
            projected=projected,
        )

    async def _used(
        self, by: Principal, resource: Resource, since: datetime, until: datetime
    ) -> int | None:
        if not resource.is_time:
            return None
        return resource.used((await self._usage.report(by, since=since, until=until)).total)
