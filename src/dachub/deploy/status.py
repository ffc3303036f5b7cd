"""How the platform on a cluster is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dachub.config import Settings
from dachub.deploy.helm import Cluster
from dachub.deploy.releases import State, states, wanted
from dachub.deploy.workloads import Workload, stuck_pods, workloads
from dachub.deploy.z2jh import SECRET, public_url

SERVERS = "--selector=component=singleuser-server"


@dataclass(frozen=True, slots=True)
class Report:
    """Releases, their workloads, people's servers, and what has to be seen to."""

    releases: list[State]
    workloads: list[Workload]
    servers: int
    problems: list[str]

    @property
    def is_well(self) -> bool:
        """Whether nothing has to be seen to."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        lines = [
            f"{one.name}: {one.status}, revision {one.revision} ({one.chart})"
            for one in self.releases
        ]
        lines += [one.told for one in self.workloads]
        lines.append(f"servers of people: {self.servers}")
        lines += [f"! {problem}" for problem in self.problems]
        return "\n".join(lines)


def read(cluster: Cluster, settings: Settings) -> Report:
    """Ask the cluster.

    Raises
    ------
    DeployFailed
    """
    installed = states(cluster)
    names = {state.name for state in installed}
    problems = [
        f"The release {release.name} is not installed: dachub deploy apply"
        for release in wanted(settings)
        if release.name not in names
    ]
    problems += [
        f"The release {state.name} is {state.status}: dachub deploy rollback, or apply again"
        for state in installed
        if state.status != "deployed"
    ]
    pods = workloads(cluster)
    problems += [f"Not ready: {one.told}" for one in pods if not one.is_ready]
    problems += stuck_pods(cluster)
    return Report(installed, pods, len(cluster.objects("pods", SERVERS)), problems)


def first_steps(cluster: Cluster, settings: Settings) -> str:
    """What to do after an installation."""
    lines = [f"The platform is at {public_url(settings)}"]
    if settings.login.local_accounts:
        lines.append(
            "The first administrator is 'admin'; the first password, until it is changed:\n"
            + _password_command(cluster, "admin-password")
        )
    if settings.synthetic is not None:
        lines.append(
            "Its people are made up: synthetic-000 and so on, each with the password\n"
            + _password_command(cluster, "synthetic-password")
        )
    return "\n".join(lines)


def _password_command(cluster: Cluster, key: str) -> str:
    return (
        f"  kubectl --context={cluster.context} --namespace={cluster.namespace} get secret "
        f"{SECRET} --output=jsonpath='{{.data.{key}}}' | base64 --decode"
    )
