"""Settings of the directory."""

from __future__ import annotations

from pydantic import Field

from dachub.model.settings import Section


class DirectorySettings(Section):
    """Affiliations and memberships."""

    affiliation_stale_after_days: int = Field(
        default=90, ge=1, description="An affiliation asserted longer ago is flagged as stale"
    )
    leave_grace_seconds: int = Field(
        default=900, ge=0, description="Notice before servers end on a group that the person left"
    )
