"""A single-user server that is up in milliseconds and bears witness of its own life.

Stands in for JupyterLab where hundreds of sessions are needed. Only the standard library, and
little of that. Run it with ``DACHUB_WITNESS`` naming a directory: each process writes one file
there, a line for each event: ``listening``, ``alive`` (every half second), ``ended``. A request
whose path ends in ``/exit`` ends it, as a crash would.
"""

import json
import os
import select
import signal
import socket
import sys
import time

ALIVE_SECONDS = 0.5
HEAD_BYTES = 65536


def main() -> int:
    """Serve until told to end."""
    url = os.environ["JUPYTERHUB_SERVICE_URL"]  # http://127.0.0.1:<port>/user/<name>/
    host, _, port = url.split("//", 1)[1].split("/", 1)[0].rpartition(":")
    session = os.environ.get("DACHUB_SESSION", "")
    directory = os.environ.get("DACHUB_WITNESS")
    path = f"{directory}/{session or 'none'}.{os.getpid()}.jsonl" if directory else os.devnull
    witness = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(event: str) -> None:
        line = {
            "event": event,
            "at": time.time(),
            "session": session,
            "pid": os.getpid(),
            "user": os.environ.get("JUPYTERHUB_USER", ""),
        }
        os.write(witness, (json.dumps(line) + "\n").encode())

    wake_read, wake_write = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(wake_write, b"x") and None)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(128)
        tell("listening")
        while True:
            readable, _, _ = select.select([listener, wake_read], [], [], ALIVE_SECONDS)
            if wake_read in readable:
                tell("ended")
                return 0
            if listener not in readable:
                tell("alive")
                continue
            if answer(listener.accept()[0]) == "exit":
                tell("ended")
                return 1


def answer(connection: socket.socket) -> str:
    """Answer one request; gives the last word of its path."""
    with connection:
        connection.settimeout(2)
        try:
            head = connection.recv(HEAD_BYTES).split(b"\r\n", 1)[0].decode("latin-1")
            body = b'{"version": "tiny"}'
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
        except OSError:
            return ""
    words = head.split(" ")
    return words[1].split("?")[0].rpartition("/")[2] if len(words) > 1 else ""


if __name__ == "__main__":
    sys.exit(main())
