"""How pages show numbers, sizes and times; each says its unit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from markupsafe import Markup

from dachub.model.allocations import Recurrence
from dachub.model.units import (
    MILLI_CORES_PER_CORE,
    SECONDS_PER_HOUR,
    SECONDS_PER_MINUTE,
    core_hours,
    spoken_bytes,
    trimmed,
)
from dachub.model.usage import Policy, QuotaPolicy, Resource

WHEN_SPENT = {
    Policy.DENY: "new servers are refused",
    Policy.STOP: "new servers are refused and running ones stopped after a notice",
    Policy.WARN: "people are only warned",
    Policy.ALLOW: "nothing happens",
}
EVERY = {
    Recurrence.MONTH: "month",
    Recurrence.QUARTER: "quarter",
    Recurrence.YEAR: "year",
    Recurrence.IRIS_YEAR: "IRIS year (from 1 October)",
}
SMALLEST = 0.005
"""What would be rounded to nothing is told as less than the smallest number."""


def _aligned(value: float) -> str:
    """A number of a column: always two decimals; what is less than they show is said so."""
    return "<0.01" if 0 < value < SMALLEST else f"{value:,.2f}"


def hours(milli_core_seconds: int) -> str:
    """Core-hours to two decimals; the exact time stands beside them."""
    return _aligned(core_hours(milli_core_seconds))


def core_clock(milli_core_seconds: int) -> str:
    """Core time as ``h:mm:ss`` to the nearest second, for columns."""
    return core_time(round(milli_core_seconds, -3))


def core_time(milli_core_seconds: int) -> str:
    """Core time as ``h:mm:ss``, exactly: thousandths of a second where there are any."""
    seconds, thousandths = divmod(abs(milli_core_seconds), MILLI_CORES_PER_CORE)
    fraction = f".{thousandths:03}".rstrip("0") if thousandths else ""
    return ("-" if milli_core_seconds < 0 else "") + duration(seconds) + fraction


def number(amount: int, resource: Resource) -> str:
    """Amount of an allocation, in base units, for a column; space says its unit itself."""
    if resource.is_time:
        return _aligned(amount / resource.base_units)
    return space(amount)


def measure(amount: int, resource: Resource) -> str:
    """The same with the unit of what running servers consume."""
    return f"{number(amount, resource)} {resource.unit}" if resource.is_time else space(amount)


def quantity(amount: int, resource: Resource) -> str:
    """An amount for a sentence: with its unit, and without decimals that say nothing."""
    match resource:
        case Resource.FILE_BYTES:
            return f"{spoken_bytes(amount)} of files"
        case Resource.DATABASE_BYTES:
            return f"{spoken_bytes(amount)} of databases"
        case _:
            value = amount / resource.base_units
            text = _aligned(value) if 0 < value < SMALLEST else trimmed(value, 2)
            return f"{text} {resource.unit}"


def rules(policy: QuotaPolicy) -> str:
    """What happens as an allocation is spent, in a sentence."""
    told = ", ".join(f"{percent} %" for percent in sorted({*policy.warn_at_percent, 100}))
    graces = [f"{policy.grace_percent:g} % more"] if policy.grace_percent else []
    if policy.grace_seconds:
        graces.append(f"{policy.grace_seconds / SECONDS_PER_HOUR:g} hours more")
    then = WHEN_SPENT[policy.when_spent]
    if policy.when_spent is Policy.STOP:
        minutes = policy.stop_notice_seconds / SECONDS_PER_MINUTE
        then += f" of {minutes:g} {'minute' if minutes == 1 else 'minutes'}"
    if policy.when_spent is Policy.ALLOW:
        return then + "."
    grace = f" Servers may go on for {' or '.join(graces)}, whichever ends first." if graces else ""
    if len(graces) == 1:
        grace = f" Servers may go on for {graces[0]}."
    return f"people are told at {told}.{grace} In the end {then}."


def origin(key: str) -> str:
    """What made an adjustment that no person made."""
    names = {"series": "by the series", "series-ended": "by the end of the series"}
    return "carried over" if key.startswith("carry-over") else names.get(key, key)


def day(at: date) -> str:
    """A day as people write it."""
    return f"{at:%-d %b %Y}"


def first_day(since: datetime) -> str:
    """The day on which a period begins."""
    return day(since.astimezone(UTC).date())


def last_day(until: datetime) -> str:
    """The last day of a period that ends before ``until``."""
    return first_day(until - timedelta(seconds=1))


def duration(seconds: float) -> str:
    """Whole seconds as ``h:mm:ss``."""
    minutes, second = divmod(max(0, int(seconds)), SECONDS_PER_MINUTE)
    hour, minute = divmod(minutes, SECONDS_PER_MINUTE)
    return f"{hour:,}:{minute:02}:{second:02}"


def space(size_bytes: int) -> str:
    """Space on disk, for a column."""
    return spoken_bytes(size_bytes, aligned=True)


def moment(at: datetime) -> Markup:
    """A moment to the second, in UTC, where seconds count."""
    utc = at.astimezone(UTC)
    return _time(utc, f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def when(at: datetime) -> Markup:
    """A moment as people speak of it; the exact one shows when it is pointed at."""
    utc = at.astimezone(UTC)
    return _time(utc, f"{day(utc)}, {utc:%H:%M}")


def _time(utc: datetime, text: str) -> Markup:
    exact = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(
        exact, utc, text
    )


def age(at: datetime, now: datetime) -> str:
    """How long ago a moment was, roughly; the exact moment stands beside it."""
    seconds = int((now - at).total_seconds())
    if seconds < SECONDS_PER_MINUTE:
        return "just now"
    for unit, length in (
        ("day", 86_400),
        ("hour", SECONDS_PER_HOUR),
        ("minute", SECONDS_PER_MINUTE),
    ):
        count = seconds // length
        if count:
            return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
