"""What the site itself was given, by whoever funds it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, Field, model_validator

from dachub.model.settings import Section
from dachub.model.units import midnight
from dachub.model.usage import Resource


class SiteAward(Section):
    """An award of a resource to the whole site, over days that both belong to it."""

    title: str = Field(min_length=1, max_length=200, description="What people call it")
    resource: Resource = Field(default=Resource.CORE_HOURS, description="What was awarded")
    amount: Decimal = Field(ge=0, description="Core-hours, GPU-hours or bytes")
    starts: date = Field(description="First day (UTC)")
    ends: date = Field(description="Last day (UTC)")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends < self.starts:
            raise ValueError("the last day of an award lies before its first")
        return self

    @property
    def since(self) -> datetime:
        """Midnight at which it begins."""
        return midnight(self.starts)

    @property
    def until(self) -> datetime:
        """Midnight at which it has ended."""
        return midnight(self.ends) + timedelta(days=1)


class AwardStanding(BaseModel):
    """How an award stands; amounts in base units."""

    award: SiteAward
    amount: int
    used: int | None = Field(description="By everybody, since it began; None for what is stored")
    projected: int | None = Field(
        description="Used when it ends, if all goes on as in the last 30 days"
    )
