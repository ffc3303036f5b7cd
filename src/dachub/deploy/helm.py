"""Helm and kubectl: one place that runs them, always with the context that was checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dachub.deploy import programs
from dachub.model.problems import DachubError, Unavailable

READ_SECONDS = 120


class WrongCluster(DachubError):
    """What is about to be done was meant for another cluster."""

    code = "wrong-cluster"


class DeployFailed(Unavailable):
    """Helm or kubectl said no."""

    code = "deploy-failed"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of a cluster, by its context."""

    context: str
    namespace: str

    @classmethod
    def checked(cls, context: str | None, server: str | None, namespace: str) -> Cluster:
        """The cluster that the configuration means, if it is the one kubectl is turned to.

        Raises
        ------
        WrongCluster
            If kubectl is turned to another one, or the configuration names none.
        """
        view = json.loads(run("kubectl", "config", "view", "--output=json"))
        current = view.get("current-context", "")
        if context is None:
            raise WrongCluster(
                "The configuration names no cluster: set cluster.context to the context that is "
                f"meant. kubectl is turned to '{current}'."
            )
        if current != context:
            raise WrongCluster(
                f"The configuration means the context '{context}', but kubectl is turned to "
                f"'{current}'. If '{context}' is right: kubectl config use-context {context}"
            )
        address = _server_of(view, context)
        if server is not None and server.rstrip("/") != address.rstrip("/"):
            raise WrongCluster(
                f"The context '{context}' leads to {address}, but the configuration means "
                f"{server} (cluster.server)."
            )
        return cls(context, namespace)

    def helm(
        self,
        *arguments: str,
        values: Any = None,
        seconds: float = READ_SECONDS,
        watch: Callable[[], None] | None = None,
    ) -> str:
        """Run Helm; ``values`` come by its input, because command lines can be read by others.

        Parameters
        ----------
        watch
            Called every other second meanwhile; what it raises ends Helm.

        Raises
        ------
        DeployFailed, ToolMissing
        """
        where = (f"--kube-context={self.context}", f"--namespace={self.namespace}")
        given = () if values is None else ("--values=-",)
        text = None if values is None else yaml.safe_dump(values, sort_keys=False)
        return run("helm", *arguments, *where, *given, text=text, seconds=seconds, watch=watch)

    def kubectl(
        self, *arguments: str, text: str | None = None, seconds: float = READ_SECONDS
    ) -> str:
        """Run kubectl.

        Raises
        ------
        DeployFailed, ToolMissing
        """
        where = (f"--context={self.context}", f"--namespace={self.namespace}")
        return run("kubectl", *where, *arguments, text=text, seconds=seconds)

    def objects(self, kind: str, *selection: str) -> list[dict[str, Any]]:
        """Objects of a kind as the cluster has them."""
        found = json.loads(self.kubectl("get", kind, "--output=json", *selection))
        items: list[dict[str, Any]] = found["items"]
        return items


def run(
    program: str,
    *arguments: str,
    text: str | None = None,
    seconds: float = READ_SECONDS,
    watch: Callable[[], None] | None = None,
) -> str:
    """What helm or kubectl prints.

    Raises
    ------
    ToolMissing
        If it is not installed.
    DeployFailed
        With what it said.
    """
    try:
        done = programs.run(program, *arguments, text=text, seconds=seconds, watch=watch)
    except programs.ToolTooSlow as slow:
        raise DeployFailed(slow.message) from None
    if done.code != 0:
        raise DeployFailed(f"{program} {_told(arguments)} failed: {done.complaint.strip()[-2000:]}")
    return done.said


def _told(arguments: Sequence[str]) -> str:
    return " ".join(argument for argument in arguments if not argument.startswith("-"))[:200]


def _server_of(view: dict[str, Any], context: str) -> str:
    """Address of the API that a context leads to."""
    contexts = {entry["name"]: entry["context"] for entry in view.get("contexts") or []}
    clusters = {entry["name"]: entry["cluster"] for entry in view.get("clusters") or []}
    name = contexts.get(context, {}).get("cluster", "")
    return str(clusters.get(name, {}).get("server", ""))
