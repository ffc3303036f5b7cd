"""The period a page is about: calendar stretches in UTC, half-open inside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from dachub.model.problems import InvalidInput
from dachub.server.portal.formats import day

EARLIEST = date(2000, 1, 1)
LONGEST_DAYS = 3660
CHOICES = {
    "this-month": "This month",
    "last-month": "Last month",
    "this-quarter": "This quarter",
    "last-quarter": "Last quarter",
    "this-year": "This year",
    "custom": "Other days",
}


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of whole days in UTC.

    Attributes
    ----------
    choice
        Key of :data:`CHOICES`.
    first, last
        First and last day; both belong to it.
    """

    choice: str
    first: date
    last: date

    @property
    def since(self) -> datetime:
        """Midnight at which it begins."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def until(self) -> datetime:
        """Midnight at which it has ended."""
        return datetime(self.last.year, self.last.month, self.last.day, tzinfo=UTC) + timedelta(
            days=1
        )

    @property
    def title(self) -> str:
        """Its days, for people."""
        if self.first == self.last:
            return day(self.first)
        return f"{day(self.first)} to {day(self.last)}"

    @property
    def name(self) -> str:
        """Its days as part of a file's name."""
        return f"{self.first.isoformat()}-{self.last.isoformat()}"

    @property
    def query_parts(self) -> dict[str, str]:
        """Parameters of an address that choose it again."""
        if self.choice != "custom":
            return {"period": self.choice}
        return {
            "period": "custom", "first": self.first.isoformat(), "last": self.last.isoformat(),
        }  # fmt: skip

    @property
    def query(self) -> str:
        """The same as part of an address."""
        return urlencode(self.query_parts)

    def days(self, up_to: datetime) -> list[date]:
        """Its days from the first to the day of ``up_to``, at most to the last."""
        end = min(self.last, up_to.astimezone(UTC).date())
        return [self.first + timedelta(days=n) for n in range((end - self.first).days + 1)]


def choose_period(choice: str, first: str, last: str, now: datetime) -> Period:
    """Period that was asked for.

    Raises
    ------
    InvalidInput
        If there is no such choice, or the days make no period.
    """
    today = now.astimezone(UTC).date()
    month = today.replace(day=1)
    match choice:
        case "this-month":
            return Period(choice, month, _next_month(month) - timedelta(days=1))
        case "last-month":
            end = month - timedelta(days=1)
            return Period(choice, end.replace(day=1), end)
        case "this-quarter":
            return _quarter(choice, month)
        case "last-quarter":
            return _quarter(choice, _quarter(choice, month).first - timedelta(days=1))
        case "this-year":
            return Period(choice, today.replace(month=1, day=1), today.replace(month=12, day=31))
        case "custom":
            return _custom(first, last, today)
        case _:
            raise InvalidInput("There is no such period. Choose one from the list.")


def _custom(first: str, last: str, today: date) -> Period:
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise InvalidInput("Give the first and the last day as year-month-day.") from None
    if end < start:
        raise InvalidInput("The last day lies before the first. Choose other days.")
    if (
        start < EARLIEST
        or end > today.replace(month=12, day=31)
        or (end - start).days >= LONGEST_DAYS
    ):
        raise InvalidInput(
            f"Choose days between {EARLIEST} and the end of this year, ten years at most."
        )
    return Period("custom", start, end)


def _quarter(choice: str, day: date) -> Period:
    first = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    third = _next_month(_next_month(first))
    return Period(choice, first, _next_month(third) - timedelta(days=1))


def _next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)
