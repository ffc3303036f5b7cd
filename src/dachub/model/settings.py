"""Base of every section of ``dachub.yaml``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change at run time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
