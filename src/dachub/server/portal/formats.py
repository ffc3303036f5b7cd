"""How pages show numbers, sizes and times; each says its unit."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup

from dachub.model.units import (
    BYTES_PER_GIB,
    MILLI_CORES_PER_CORE,
    SECONDS_PER_HOUR,
    SECONDS_PER_MINUTE,
    core_hours,
    spoken_bytes,
    spoken_terabytes,
)
from dachub.model.usage import Policy, QuotaPolicy, Resource

WHEN_SPENT = {
    Policy.DENY: "new servers are refused",
    Policy.STOP: "new servers are refused and running ones stopped after a notice",
    Policy.WARN: "people are only warned",
    Policy.ALLOW: "nothing happens",
}
DECIMALS_BELOW_CORE_HOURS = 1000


def hours(milli_core_seconds: int) -> str:
    """Core-hours: three decimals below a thousand, one above."""
    value = core_hours(milli_core_seconds)
    decimals = 3 if abs(value) < DECIMALS_BELOW_CORE_HOURS else 1
    return f"{value:,.{decimals}f}"


def core_time(milli_core_seconds: int) -> str:
    """Core time as ``h:mm:ss``, exactly: thousandths of a second where there are any."""
    seconds, thousandths = divmod(abs(milli_core_seconds), MILLI_CORES_PER_CORE)
    fraction = f".{thousandths:03}".rstrip("0") if thousandths else ""
    return ("-" if milli_core_seconds < 0 else "") + duration(seconds) + fraction


def number(amount: int, resource: Resource) -> str:
    """Amount of an allocation, in base units, as a number of the unit that people speak of."""
    if resource is Resource.CORE_HOURS:
        return hours(amount)
    if resource.is_time:
        return f"{amount / resource.base_units:,.3f}"
    return gib(amount)


def quantity(amount: int, resource: Resource) -> str:
    """The same with the unit."""
    match resource:
        case Resource.FILE_BYTES:
            terabytes = spoken_terabytes(amount)
            space = number(amount, resource)
            return f"{terabytes} ({space}) of files" if terabytes else f"{space} of files"
        case Resource.DATABASE_BYTES:
            return f"{number(amount, resource)} of databases"
        case _:
            return f"{number(amount, resource)} {resource.unit}"


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


def first_day(since: datetime) -> str:
    """The day on which a period begins."""
    return since.astimezone(UTC).date().isoformat()


def duration(seconds: float) -> str:
    """Whole seconds as ``h:mm:ss``."""
    minutes, second = divmod(max(0, int(seconds)), SECONDS_PER_MINUTE)
    hour, minute = divmod(minutes, SECONDS_PER_MINUTE)
    return f"{hour:,}:{minute:02}:{second:02}"


def gib(size_bytes: int) -> str:
    """Bytes in GiB, two decimals at most; what would be 0 then in a smaller unit."""
    if 0 < size_bytes < BYTES_PER_GIB // 100:
        return spoken_bytes(size_bytes)
    return f"{size_bytes / BYTES_PER_GIB:,.2f}".rstrip("0").rstrip(".") + " GiB"


def moment(at: datetime) -> Markup:
    """A moment to the second, in UTC, readable for people and machines."""
    utc = at.astimezone(UTC)
    return Markup(
        '<time datetime="{}">{} <abbr title="Coordinated Universal Time">UTC</abbr></time>'
    ).format(utc.strftime("%Y-%m-%dT%H:%M:%SZ"), utc.strftime("%Y-%m-%d %H:%M:%S"))


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
