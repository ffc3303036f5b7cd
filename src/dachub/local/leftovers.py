"""What a killed start left running: found by its records, ended in the order of a clean stop."""

from __future__ import annotations

import os
import signal

from dachub.local.layout import Layout
from dachub.local.processes import ProcessRecord, directory_of
from dachub.local.supervision import PARTS, STOP_SECONDS, STOP_SIGNALS, SUPERVISOR, Supervisor

PROXY_PID_FILE = "jupyterhub-proxy.pid"
PROXY_STOP_SECONDS = 5


def end_leftovers(layout: Layout, supervisor: Supervisor) -> bool:
    """End what still runs of an earlier start; users' servers are none of it.

    Returns
    -------
    bool
        Whether there was anything.
    """
    records = [(SUPERVISOR, signal.SIGTERM, sum(STOP_SECONDS.values()))] + [
        (part, signal.Signals[f"SIG{STOP_SIGNALS[part]}"], STOP_SECONDS[part])
        for part in reversed(PARTS)
    ]
    found = False
    for name, sign, wait_seconds in records:
        path = supervisor.record_path(name)
        record = ProcessRecord.read(path)
        if record is not None and record.is_running:
            found = True
            record.end(sign, wait_seconds)
        path.unlink(missing_ok=True)
        if name == "hub":  # the proxy is the hub's child, and survives it when it is killed
            found = _end_proxy(layout) or found
    return found


def _end_proxy(layout: Layout) -> bool:
    """End the proxy that a killed hub left; known by working in the hub's directory."""
    file = layout.hub / PROXY_PID_FILE
    try:
        pid = int(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return False
    record = ProcessRecord.of(pid)
    if record is None or pid == os.getpid() or directory_of(pid) != layout.hub.resolve():
        return False
    record.end(signal.SIGTERM, PROXY_STOP_SECONDS)
    file.unlink(missing_ok=True)
    return True
