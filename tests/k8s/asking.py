"""Runs in a pod: asks the service until /tmp/stop is there, then prints what went wrong."""

import collections
import http.client
import json
import pathlib
import threading
import time

HOST, PATH = "dachub", "/services/dac/api/v1/health"
STOP = pathlib.Path("/tmp/stop")
ASKERS = 4
PAUSE_SECONDS = 0.02

asked = 0
failed: collections.Counter[str] = collections.Counter()


def ask() -> None:
    """Ask until told to stop, on a new connection each time."""
    global asked
    while not STOP.exists():
        connection = http.client.HTTPConnection(HOST, timeout=20)
        try:
            connection.request("GET", PATH)
            status = connection.getresponse().status
            if status != 200:
                failed[str(status)] += 1
        except OSError as error:
            failed[repr(error)] += 1
        finally:
            connection.close()
        asked += 1
        time.sleep(PAUSE_SECONDS)


threads = [threading.Thread(target=ask) for _ in range(ASKERS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"asked": asked, "failed": failed}))  # noqa: T201
