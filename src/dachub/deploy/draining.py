"""A machine of the cluster is taken out of service: nobody new, notice, and wait until it is empty.

What was told is kept by the machine itself (annotations) and by the service (sessions with their
ends), so that whoever runs this again goes on where it was interrupted.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dachub.deploy.helm import Cluster
from dachub.model.problems import InvalidInput, NotFound

UNTIL = "dachub/drain-until"
BECAUSE = "dachub/drain-because"
SESSION = "dachub/session"
SERVICE = "deployment/dachub"
WITHIN_DEFAULT = timedelta(hours=2)
POLL_SECONDS = 5
MOVE_SECONDS = 900
PEOPLES = "component=singleuser-server"
ENDED = frozenset({"Succeeded", "Failed"})

_LENGTH = re.compile(r"(\d{1,4})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Promise:
    """What people were told of a machine."""

    until: datetime
    because: str


def length(text: str) -> timedelta:
    """A length of time such as ``2h``, ``30m`` or ``1d``.

    Raises
    ------
    InvalidInput
    """
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"'{text}' is no length of time such as 30m, 2h or 1d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def drain(
    cluster: Cluster,
    name: str,
    say: Say,
    *,
    within: timedelta | None = None,
    because: str | None = None,
    move: bool = False,
) -> None:
    """Let nobody new onto a machine, tell who is there, and wait until their servers have ended.

    Parameters
    ----------
    within, because
        When servers there are stopped at the latest, and why; as told before, where not given.
    move
        Evict what else is there at the end, as its disruption budgets allow.

    Raises
    ------
    NotFound
        If there is no such machine.
    DeployFailed
    """
    promise = _promised(_node(cluster, name), within, because)
    told = {UNTIL: promise.until.isoformat(), BECAUSE: promise.because}
    _change(cluster, name, unschedulable=True, annotations=told)
    say(f"{name} takes no new servers; those there are stopped at {promise.until:%d %B %H:%M} UTC")
    said = ""
    while left := _servers(cluster, name):
        # Again each time: one may have got its place in the last moment, or is not in the ledger.
        announced = _announce(cluster, left, promise)
        if (progress := _progress(left, announced)) != said:
            said = progress
            say(f"{name}: {said}")
        time.sleep(POLL_SECONDS)
    say(f"{name}: no server of this platform is left")
    _finish(cluster, name, say, move=move)


def undrain(cluster: Cluster, name: str, say: Say) -> None:
    """Take it back: servers go on, their people are told, and new ones may come.

    Raises
    ------
    NotFound
        If there is no such machine.
    InvalidInput
        If it was not drained from here.
    DeployFailed
    """
    if UNTIL not in _annotations(_node(cluster, name)):
        raise InvalidInput(
            f"'{name}' was not drained by dachub. To let pods onto it: kubectl uncordon {name}"
        )
    spared: list[dict[str, Any]] = []
    if sessions := _sessions(_servers(cluster, name)):
        spared = _ask(cluster, "withdraw-stop", "--json", *sessions)
    # Last: whoever is interrupted before can run this again.
    _change(cluster, name, unschedulable=False, annotations={UNTIL: None, BECAUSE: None})
    servers = _counted(len(spared), "server")
    say(f"{name} takes servers again; the notice of {servers} is withdrawn")


# --- Inside --------------------------------------------------------------------------------------


def _node(cluster: Cluster, name: str) -> dict[str, Any]:
    for node in cluster.objects("nodes"):
        if node["metadata"]["name"] == name:
            return node
    raise NotFound(f"The cluster has no machine '{name}'. What it has: kubectl get nodes")


def _annotations(node: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = node["metadata"].get("annotations") or {}
    return found


def _promised(node: dict[str, Any], within: timedelta | None, because: str | None) -> Promise:
    before = _annotations(node)
    if within is not None or UNTIL not in before:
        until = datetime.now(UTC).replace(microsecond=0) + (within or WITHIN_DEFAULT)
    else:
        until = datetime.fromisoformat(before[UNTIL])
    return Promise(until, before.get(BECAUSE, "") if because is None else because)


def _change(
    cluster: Cluster, name: str, *, unschedulable: bool, annotations: Mapping[str, str | None]
) -> None:
    patch = {
        "metadata": {"annotations": annotations},
        "spec": {"unschedulable": unschedulable or None},
    }
    cluster.kubectl("patch", "node", name, "--type=merge", f"--patch={json.dumps(patch)}")


def _servers(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Pods of people's servers on a machine, of this platform, that have not ended."""
    pods = cluster.objects(
        "pods", f"--selector={PEOPLES}", f"--field-selector=spec.nodeName={name}"
    )
    return [pod for pod in pods if pod["status"].get("phase") not in ENDED]


def _sessions(servers: Sequence[dict[str, Any]]) -> list[str]:
    labels = (pod["metadata"].get("labels") or {} for pod in servers)
    return [one[SESSION] for one in labels if SESSION in one]


def _announce(
    cluster: Cluster, servers: Sequence[dict[str, Any]], promise: Promise
) -> list[dict[str, Any]]:
    sessions = _sessions(servers)
    if not sessions:
        return []
    until = promise.until.isoformat()
    why = f"--because={promise.because}"
    return _ask(cluster, "announce-stop", f"--at={until}", why, "--json", *sessions)


def _ask(cluster: Cluster, *words: str) -> list[dict[str, Any]]:
    """What ``dachub session`` says in a pod of the service."""
    said = cluster.kubectl("exec", SERVICE, "--", "dachub", "session", *words)
    found: list[dict[str, Any]] = json.loads(said)
    return found


def _progress(servers: Sequence[dict[str, Any]], announced: Sequence[dict[str, Any]]) -> str:
    """How many servers are left; those that nobody can be told of are named."""
    known = {one["session_id"] for one in announced}
    pods = {
        pod["metadata"]["name"]: (pod["metadata"].get("labels") or {}).get(SESSION)
        for pod in servers
    }
    people = len({one["username"] for one in announced})
    verb = "was" if people == 1 else "were"
    told = f"{_counted(people, 'person', 'people')} {verb} told" if known else "nobody was told yet"
    text = f"waiting for {_counted(len(servers), 'server')}; {told}"
    if strange := sorted(pod for pod, session in pods.items() if session is None):
        text += f"; no sessions, stop them in the hub: {', '.join(strange)}"
    return text


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _finish(cluster: Cluster, name: str, say: Say, *, move: bool) -> None:
    """Say that the machine can go, or what has to go before."""
    others = _others(cluster, name)
    if peoples := sorted(where for where, is_server in others.elements() if is_server):
        counted = ", ".join(f"{count} in {where}" for where, count in Counter(peoples).items())
        say(f"{name}: servers of other platforms are on it ({counted}); they are theirs to end")
        return
    command = (
        *("drain", name, "--ignore-daemonsets", "--delete-emptydir-data"),
        f"--pod-selector={PEOPLES.replace('=', '!=')}",
    )
    rest = sum(others.values())
    if rest and not move:
        left = "1 other pod is" if rest == 1 else f"{rest} other pods are"
        say(f"{name}: {left} on it; to evict what is left: kubectl {' '.join(command)}")
        return
    if rest:
        say(f"{name}: evicting {_counted(rest, 'other pod')}, as disruption budgets allow")
        cluster.kubectl(*command, f"--timeout={MOVE_SECONDS}s", seconds=MOVE_SECONDS + 30)
    say(f"{name} is empty: the machine can be taken away. To keep it: dachub deploy undrain {name}")


def _others(cluster: Cluster, name: str) -> Counter[tuple[str, bool]]:
    """(namespace, whether it is somebody's server) -> pods on a machine that do not go with it."""
    pods = cluster.objects("pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")
    return Counter(
        (
            pod["metadata"]["namespace"],
            (pod["metadata"].get("labels") or {}).get("component") == "singleuser-server",
        )
        for pod in pods
        if pod["status"].get("phase") not in ENDED and not _is_of_the_machine(pod)
    )


def _is_of_the_machine(pod: dict[str, Any]) -> bool:
    owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences") or []}
    return bool(owners & {"DaemonSet", "Node"})
