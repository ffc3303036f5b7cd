"""Units of the ledger: integers inside, hours only where a person reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

MILLI_CORES_PER_CORE = 1000
SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600
MILLI_CORE_SECONDS_PER_CORE_HOUR = MILLI_CORES_PER_CORE * SECONDS_PER_HOUR
BYTES_PER_MIB = 1024**2
BYTES_PER_GIB = 1024**3
BYTES_PER_GB = 10**9
BYTES_PER_TB = 10**12


def core_hours(milli_core_seconds: int) -> float:
    """Milli-core-seconds as core-hours, for people."""
    return milli_core_seconds / MILLI_CORE_SECONDS_PER_CORE_HOUR


def core_seconds(milli_core_seconds: int) -> float:
    """Milli-core-seconds as core-seconds; exact to three decimals."""
    return milli_core_seconds / MILLI_CORES_PER_CORE


def cores(milli_cores: int) -> str:
    """Milli-cores as cores, for people."""
    count = f"{milli_cores / MILLI_CORES_PER_CORE:g}"
    return f"{count} core" if count == "1" else f"{count} cores"


def share(part: int, whole: int) -> str:
    """Part of a whole in per cent, for people."""
    return f"{100 * part / whole:,.1f} %" if whole else "–"


def trimmed(value: float, decimals: int) -> str:
    """A number for a sentence: so many decimals at most, and none that say nothing."""
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def spoken_bytes(amount_bytes: int, *, aligned: bool = False) -> str:
    """Space on disk for people, in powers of ten, as disks are sold and space is awarded.

    Parameters
    ----------
    aligned
        For a column: always two decimals; else two at most.
    """
    amount, unit = float(amount_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(amount) < 1000:
            break
        amount, unit = amount / 1000, larger
    if unit == "bytes":
        return f"{amount_bytes} bytes"
    return f"{amount:,.2f} {unit}" if aligned else f"{trimmed(amount, 2)} {unit}"


def spoken_memory(amount_bytes: int) -> str:
    """Memory for people, in powers of two, as it is built and as kernels count it."""
    return f"{trimmed(amount_bytes / BYTES_PER_GIB, 2)} GiB"


def whole_second(moment: datetime) -> datetime:
    """Cut a moment to its whole second, in UTC: the ledger's grain.

    Raises
    ------
    ValueError
        If ``moment`` carries no time zone, or cannot be told in UTC (the first and last hours of
        the calendar).
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone cannot be accounted")
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise ValueError("a time outside of the calendar cannot be accounted") from error


def day_start(moment: datetime) -> datetime:
    """Midnight (UTC) at which the day of ``moment`` began."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def midnight(day: date) -> datetime:
    """Midnight (UTC) at which ``day`` begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def last_day(until: datetime) -> str:
    """The last day (UTC) of a period that ends before ``until``, for people."""
    return (until.astimezone(UTC) - timedelta(seconds=1)).date().isoformat()


def split_by_day(start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Split [start, end) at midnights (UTC).

    Returns
    -------
    list of (midnight that began the day, seconds in that day)
        Seconds are whole and add up to ``end - start``; empty if ``end <= start``.
    """
    parts: list[tuple[datetime, int]] = []
    at = start
    while at < end:
        midnight = day_start(at)
        stop = min(end, midnight + timedelta(days=1))
        parts.append((midnight, int((stop - at).total_seconds())))
        at = stop
    return parts
