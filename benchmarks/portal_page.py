"""What a portal page costs, beside the hub's own home page."""

from __future__ import annotations

import time
from statistics import median

from benchmarks import sites
from benchmarks.report import Row

REPEATS = 100
WARM_UP = 10
PORTAL, HOME = "/services/dac/", "/hub/home"


def run() -> list[Row]:
    """The pages in turns, through the proxy, by one person who is logged in."""
    with sites.dachub(1) as site, site.visitor(site.people[0]) as person:
        seconds: dict[str, list[float]] = {PORTAL: [], HOME: []}
        cpu: dict[str, float] = {PORTAL: 0.0, HOME: 0.0}
        for number in range(WARM_UP + REPEATS):
            for path, part in ((PORTAL, "service"), (HOME, "hub")):
                before, start = site.cpu_seconds(part), time.perf_counter()
                answer = person.http.get(path)
                if number >= WARM_UP:
                    seconds[path].append(time.perf_counter() - start)
                    cpu[path] += site.cpu_seconds(part) - before
                assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return [
        Row("portal", "My usage, beside the hub's home: time", "ms",
            1000 * median(seconds[PORTAL]), 1000 * median(seconds[HOME])),
        Row("portal", "My usage, beside the hub's home: processor", "ms",
            1000 * cpu[PORTAL] / REPEATS, 1000 * cpu[HOME] / REPEATS),
    ]  # fmt: skip
