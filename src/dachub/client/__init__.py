"""Inside a notebook: ``from dachub import DAC; dac = DAC()``; nothing to configure.

Importing this costs little: what a call needs (httpx, the wire models, pandas), the call imports.
"""

from dachub.client.dac import DAC
from dachub.client.errors import (
    BadAnswer,
    BadRequest,
    NotConfigured,
    NotInASession,
    RequestRefused,
    ServiceUnreachable,
)

__all__ = [
    "DAC",
    "BadAnswer",
    "BadRequest",
    "NotConfigured",
    "NotInASession",
    "RequestRefused",
    "ServiceUnreachable",
]
