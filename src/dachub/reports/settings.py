"""Settings of exports and reports."""

from __future__ import annotations

from pydantic import Field

from dachub.model.settings import Section

NAME = r"^[\x21-\x24\x26-\x7b\x7d\x7e]+$"
"""Visible ASCII without what separates fields and records (pipe and percent)."""


class ReportSettings(Section):
    """What goes to Open XDMoD, APEL and the funder."""

    final_after_seconds: int = Field(
        default=86_400,
        ge=0,
        description="A session is exported once it ended so long ago; until then it may change",
    )
    xdmod_resource: str = Field(
        default="dachub",
        pattern=NAME,
        max_length=20,
        description="What Open XDMoD calls this platform (its resource)",
    )
    apel_site: str = Field(
        default="dachub", pattern=NAME, max_length=100, description="This site's name in APEL"
    )
    apel_service: str = Field(
        default="dachub", pattern=NAME, max_length=100, description="CloudComputeService in APEL"
    )
    apel_vo: str = Field(
        default="dachub",
        pattern=r"^[A-Za-z0-9._-]+$",
        max_length=100,
        description="Virtual organisation that the groups belong to in APEL",
    )
    apel_usernames: bool = Field(
        default=True, description="Name people in APEL's records; else all are 'withheld'"
    )
    apel_benchmark_type: str | None = Field(
        default=None, pattern=NAME, max_length=50, description="Such as HEPscore23"
    )
    apel_benchmark: float = Field(
        default=0.0, ge=0, le=9_999_999, description="Its value for one core"
    )
