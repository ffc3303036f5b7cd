"""Helm as a program: `helm` of the PATH (or of ``make helm``), and `helm4` where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
MADE_HERE = ROOT / ".environments" / "bin"
# A Helm that was built from its module takes itself for one of Kubernetes 1.20.
KUBERNETES = "1.37.0"


@dataclass(frozen=True)
class Helm:
    """One Helm."""

    program: str

    @classmethod
    def found(cls, name: str = "helm") -> Helm:
        """Give that program, or skip the test."""
        path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], str(MADE_HERE)]))
        if path is None:
            pytest.skip(f"there is no program `{name}` in the PATH: install it, or run: make helm")
        return cls(path)

    def run(
        self, *arguments: str | Path, values: object = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it with ``values`` as its values file; the caller sees whether it succeeded."""
        given = ["--values", "-"] if values is not None else []
        return subprocess.run(
            [self.program, *map(str, arguments), *given],
            input=yaml.safe_dump(values) if values is not None else None,
            capture_output=True,
            text=True,
        )

    def template(self, values: object = None, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Render the chart, without a cluster."""
        return self.run(
            *("template", "dachub", CHART, "--namespace", "dac", "--kube-version", KUBERNETES),
            *arguments,
            values=values if values is not None else {},
        )

    def objects(self, values: object = None, *arguments: str) -> Objects:
        """Render the chart; gives its objects."""
        done = self.template(values, *arguments)
        assert done.returncode == 0, done.stderr
        return Objects([each for each in yaml.safe_load_all(done.stdout) if each])


class Objects(list[dict[str, Any]]):
    """What a chart makes."""

    def one(self, kind: str, name: str = "dachub") -> dict[str, Any]:
        """The object of that kind and name."""
        (found,) = [o for o in self if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        return found

    def names(self, kind: str) -> set[str]:
        """Names of all objects of that kind."""
        return {each["metadata"]["name"] for each in self if each["kind"] == kind}

    def pods(self) -> Mapping[str, dict[str, Any]]:
        """Templates of all pods, by the component they are."""
        specs = [each.get("spec", {}) for each in self]
        specs += [spec["jobTemplate"]["spec"] for spec in specs if "jobTemplate" in spec]
        templates = [spec["template"] for spec in specs if "template" in spec]
        return {
            each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in templates
        }
