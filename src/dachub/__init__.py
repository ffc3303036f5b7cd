"""dachub: the analysis platform of a survey data access centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dachub.client import DAC

__version__ = "0.1.0"
__all__ = ["DAC", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client only when asked for: the server side never needs it."""
    if name == "DAC":
        from dachub.client import DAC

        return DAC
    raise AttributeError(f"module 'dachub' has no attribute {name!r}")
