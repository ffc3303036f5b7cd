"""A real cluster, through ``kubectl`` and whatever KUBECONFIG names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

REGISTRY = os.environ.get("DACHUB_TEST_REGISTRY", "127.0.0.1:5000/dachub")
"""Where the cluster finds our images."""
TAG = os.environ.get("DACHUB_TEST_TAG", "test")
RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
}
FORWARDS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Namespace:
    """One namespace of the cluster, as kubectl sees it."""

    name: str

    def kubectl(self, *arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl here; ``given`` are objects for its standard input, or text."""
        text = given if isinstance(given, str) or given is None else yaml.safe_dump_all(given)
        return subprocess.run(
            ["kubectl", "--namespace", self.name, *arguments],
            input=text,
            capture_output=True,
            text=True,
        )

    def do(self, *arguments: str, given: object = None) -> str:
        """Run kubectl here; gives what it printed, and fails the test when it failed."""
        done = self.kubectl(*arguments, given=given)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def get(self, *what: str) -> dict[str, Any]:
        """An object, or a list of them."""
        found: dict[str, Any] = json.loads(self.do("get", *what, "--output=json"))
        return found

    def all_names(self, *kinds: str) -> set[str]:
        """``kind/name`` of all that is here, of these kinds."""
        return set(self.do("get", ",".join(kinds), "--output=name").split())

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """Give the address on loopback that leads to ``target``, such as ``pod/name``."""
        with subprocess.Popen(
            ["kubectl", "--namespace", self.name, "port-forward", target, f":{port}"],
            stdout=subprocess.PIPE,
            text=True,
        ) as forward:
            try:
                assert forward.stdout is not None
                line = forward.stdout.readline()
                found = FORWARDS.search(line)
                assert found, f"kubectl port-forward {target}: {line}"
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                forward.terminate()


def require_cluster() -> None:
    """Skip the test, or the benchmark, where no cluster is named."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("this needs a cluster: name it in KUBECONFIG")
    if shutil.which("kubectl") is None:
        pytest.skip("this needs kubectl in the PATH")


@contextmanager
def new_namespace(name: str) -> Iterator[Namespace]:
    """Make a namespace that lets only restricted pods in; it goes at the end, with all in it."""
    require_cluster()
    here = Namespace(name)
    labels = {"metadata": {"name": name, "labels": RESTRICTED}}
    here.do("delete", "namespace", name, "--ignore-not-found")
    here.do("create", "--filename=-", given=[{"apiVersion": "v1", "kind": "Namespace", **labels}])
    try:
        yield here
    finally:
        here.do("delete", "namespace", name)
