"""What the checks before a start, and ``dachub doctor``, find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from dachub.model.problems import DachubError

Severity = Literal["ok", "warning", "error"]


class Finding(BaseModel):
    """One thing that was looked at, and how it is."""

    code: str
    """Stable; the documentation's troubleshooting page has an entry for each."""
    severity: Severity
    what: str
    why: str = ""
    advice: str = ""

    @property
    def text(self) -> str:
        """All of it in one paragraph."""
        return " ".join(part for part in (self.what, self.why, self.advice) if part)


class StartRefused(DachubError):
    """The platform was not started; nothing was changed."""

    code = "start-refused"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code  # type: ignore[misc]  # that of the finding


def refuse_on_errors(findings: Sequence[Finding]) -> None:
    """Raise :class:`StartRefused` with all errors among ``findings``, if there are any."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise StartRefused("\n".join(finding.text for finding in errors), errors[0].code)
