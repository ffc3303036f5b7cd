"""Becomes a child of supervisord: notes its process, drops rights, and dies with its supervisor.

Run as ``python -m dachub.local.launch SPEC``. The description comes by a file because command lines
and supervisord's configuration are no place for secrets.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dachub.local.processes import ChildSpec, ProcessRecord

KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "USER", "LOGNAME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""Variables that a child inherits; everything else, secrets above all, comes by its description."""


def main() -> None:
    """Start what the description says, in place of this process."""
    spec = ChildSpec.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    record = ProcessRecord.of(os.getpid())
    if record is not None:
        record.write(spec.record)
    rights = []
    if spec.user_id is not None:
        rights = [f"--reuid={spec.user_id}", f"--regid={spec.group_id}", "--clear-groups"]
    # setpriv, because the kernel forgets the signal when a process changes its user afterwards.
    command = ["setpriv", f"--pdeathsig={spec.death_signal}", *rights, "--", *spec.command]
    os.chdir(spec.directory)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    os.execvpe(command[0], command, kept | spec.environment)  # noqa: S606  no shell meant


if __name__ == "__main__":
    main()
