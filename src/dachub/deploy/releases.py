"""The two Helm releases: what would change, changing it, and going back."""

from __future__ import annotations

import base64
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from dachub.config import Settings
from dachub.deploy import backups, chart, z2jh
from dachub.deploy.helm import Cluster, DeployFailed
from dachub.deploy.workloads import WORKLOADS, await_workloads, pods_now, refuse_stuck

APPLY_SECONDS = 1200
SECRET_SHOWN = "(secret)"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release as the configuration wants it."""

    name: str
    chart: tuple[str, ...]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What would become of one object."""

    release: str
    kind: str
    name: str
    verb: str  # added, changed, removed
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """How a release is."""

    name: str
    revision: int
    status: str
    chart: str
    updated: str


def wanted(settings: Settings) -> tuple[Release, Release]:
    """Both releases, in the order in which they are installed.

    Raises
    ------
    ConfigurationError
    """
    cluster, hub = settings.cluster, settings.cluster.hub
    theirs = [hub.chart]
    if hub.repository is not None and not hub.chart.startswith(("/", "./", "oci://")):
        theirs.append(f"--repo={hub.repository}")
    if hub.version is not None:
        theirs.append(f"--version={hub.version}")
    return (
        Release(cluster.release, (str(chart.chart_path()),), chart.values(settings)),
        Release(
            hub.release or f"{cluster.namespace}-jupyterhub",
            tuple(theirs),
            z2jh.values(settings),
        ),
    )


def changes(cluster: Cluster, settings: Settings) -> Iterator[Change]:
    """What applying the configuration would change; the cluster itself checks it.

    Raises
    ------
    DeployFailed
        Also if the cluster would refuse it.
    """
    known = {state.name for state in states(cluster)}
    for release in wanted(settings):
        before = cluster.helm("get", "manifest", release.name) if release.name in known else ""
        after = cluster.helm(
            *("upgrade", "--install", "--dry-run=server", "--hide-notes", "--output=yaml"),
            *(release.name, *release.chart),
            values=release.values,
        )
        manifest = yaml.safe_load(after).get("manifest", "")
        yield from _differences(release.name, _objects(before), _objects(manifest))


def apply(cluster: Cluster, settings: Settings, say: Callable[[str], None]) -> None:
    """Install or upgrade both; an upgrade that fails goes back to what it was.

    Raises
    ------
    DeployFailed
        With what keeps pods from becoming ready.
    """
    _ensure_namespace(cluster)
    _put_site_secret(cluster, settings)
    before = {state.name: state.revision for state in states(cluster)}
    for release in wanted(settings):
        say(f"{release.name}: applying")
        old = pods_now(cluster)
        try:
            cluster.helm(
                *("upgrade", "--install", "--hide-notes", "--history-max=10"),
                f"--timeout={APPLY_SECONDS}s",
                *(release.name, *release.chart),
                values=release.values,
                seconds=APPLY_SECONDS + 60,
                # The job that brings the database to a new schema may be what cannot start.
                watch=partial(refuse_stuck, cluster, old),
            )
            await_ready(cluster, release.name, say, old)
        except DeployFailed as failure:
            if release.name not in before:
                raise  # nothing to go back to; what is there shows what is wrong
            say(f"{release.name}: failed; going back to revision {before[release.name]}")
            _back_to(cluster, release.name, before[release.name])
            raise DeployFailed(
                f"{failure.message}\nThe release {release.name} is what it was before."
            ) from failure
        say(f"{release.name}: ready")


def roll_back(cluster: Cluster, settings: Settings, say: Callable[[str], None]) -> None:
    """Bring both releases to what ran before the present revision: the hub's first.

    Raises
    ------
    DeployFailed
        If there is no earlier revision; nothing is changed then.
    """
    names = [release.name for release in reversed(wanted(settings))]
    earlier = {name: revision_before(_history(cluster, name)) for name in names}
    if alone := [name for name, revision in earlier.items() if revision is None]:
        raise DeployFailed(f"There is no earlier revision of {', '.join(alone)} to go back to.")
    for name, revision in earlier.items():
        assert revision is not None  # noqa: S101  refused above
        old = pods_now(cluster)
        _back_to(cluster, name, revision)
        await_ready(cluster, name, say, old)
        say(f"{name}: back at revision {revision}")


def revision_before(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The revision that ran before the present one, which may itself be a rollback to one.

    Parameters
    ----------
    history
        As ``helm history`` gives it, the oldest first.
    """
    present = int(history[-1]["revision"])
    if went_back := re.fullmatch(r"Rollback to (\d+)", str(history[-1].get("description", ""))):
        present = int(went_back[1])
    ran = [
        int(one["revision"])
        for one in history
        if one["status"] == "superseded" and int(one["revision"]) < present
    ]
    return max(ran, default=None)


def await_ready(
    cluster: Cluster,
    release: str,
    say: Callable[[str], None],
    old: frozenset[str] = frozenset(),
) -> None:
    """Wait until all workloads of a release are ready, telling how far they are.

    Parameters
    ----------
    old
        Ids of pods whose troubles are not of now.

    Raises
    ------
    DeployFailed
        If they are not in time, or when a pod cannot become ready.
    """
    manifest = cluster.helm("get", "manifest", release)
    names = {name for kind, name in _objects(manifest) if kind in WORKLOADS}
    await_workloads(cluster, names, lambda text: say(f"{release}: {text}"), old)


def remove(cluster: Cluster, settings: Settings, say: Callable[[str], None]) -> None:
    """Uninstall both, people's running servers with them; volumes and the database's stay.

    Raises
    ------
    DeployFailed
    """
    known = {state.name for state in states(cluster)}
    # Also pods that have ended keep volumes from being deleted.
    cluster.kubectl(
        *("delete", "cronjobs,jobs", backups.BACKUP_PODS),
        *("--ignore-not-found", "--cascade=foreground"),
        seconds=APPLY_SECONDS,
    )
    for release in reversed(wanted(settings)):
        if release.name in known:
            cluster.helm(
                *("uninstall", release.name, "--wait", f"--timeout={APPLY_SECONDS}s"),
                seconds=APPLY_SECONDS + 120,
            )
            say(f"{release.name}: removed")
    cluster.kubectl(
        *("delete", "pods", "--selector=component=singleuser-server", "--ignore-not-found"),
        seconds=APPLY_SECONDS,
    )


def delete_data(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Delete volumes and secrets that uninstalling leaves: homes, tables, figures.

    Raises
    ------
    DeployFailed
    """
    cluster.kubectl(*("delete", "persistentvolumeclaims", "--all", "--wait"), seconds=APPLY_SECONDS)
    cluster.kubectl("delete", "secret", z2jh.SECRET, "--ignore-not-found")
    say("all volumes: deleted")


def states(cluster: Cluster) -> list[State]:
    """Helm releases in the namespace."""
    listed = yaml.safe_load(cluster.helm("list", "--all", "--output=yaml")) or []
    return [
        State(
            name=one["name"],
            revision=int(one["revision"]),
            status=one["status"],
            chart=one["chart"],
            updated=one["updated"],
        )
        for one in listed
    ]


def commands(settings: Settings, dachub_values: str, hub_values: str) -> list[str]:
    """The two plain Helm commands that do the same."""
    ours, theirs = wanted(settings)
    where = f"--namespace {settings.cluster.namespace} --create-namespace"
    return [
        f"helm upgrade --install {release.name} {' '.join(release.chart)} {where} --values {file}"
        for release, file in ((ours, dachub_values), (theirs, hub_values))
    ]


# --- Inside --------------------------------------------------------------------------------------


def _history(cluster: Cluster, release: str) -> list[dict[str, Any]]:
    revisions: list[dict[str, Any]] = json.loads(cluster.helm("history", release, "--output=json"))
    return revisions


def _back_to(cluster: Cluster, release: str, revision: int) -> None:
    cluster.helm(
        *("rollback", release, str(revision), f"--timeout={APPLY_SECONDS}s"),
        seconds=APPLY_SECONDS + 60,
    )


def _ensure_namespace(cluster: Cluster) -> None:
    try:
        cluster.kubectl("get", "namespace", cluster.namespace)
    except DeployFailed:
        cluster.kubectl("create", "namespace", cluster.namespace)


def _put_site_secret(cluster: Cluster, settings: Settings) -> None:
    """Give the cluster the secrets the site has from others; what is there and not here stays."""
    secrets = chart.site_secrets(settings)
    if not secrets:
        return
    entries = {key: base64.b64encode(value.encode()).decode() for key, value in secrets.items()}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": z2jh.SITE_SECRET, "namespace": cluster.namespace},
        "data": entries,
    }
    cluster.kubectl(
        *("apply", "--server-side", "--field-manager=dachub", "--filename=-"),
        text=yaml.safe_dump(manifest),
    )


def _objects(manifest: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects of a manifest by kind and name."""
    return {
        (one["kind"], one["metadata"]["name"]): one
        for one in yaml.safe_load_all(manifest)
        if one is not None
    }


def _differences(
    release: str,
    before: Mapping[tuple[str, str], dict[str, Any]],
    after: Mapping[tuple[str, str], dict[str, Any]],
) -> Iterator[Change]:
    for key in sorted(before.keys() | after.keys()):
        old, new = _lines(before.get(key)), _lines(after.get(key))
        if old == new:
            continue
        verb = "added" if not old else "removed" if not new else "changed"
        lines = difflib.unified_diff(old, new, "now", "then", lineterm="", n=2)
        yield Change(release, *key, verb, tuple(lines))


def _lines(one: dict[str, Any] | None) -> list[str]:
    """An object as text; of a secret only which values changed can be seen, not what they are."""
    if one is None:
        return []
    if one["kind"] == "Secret":
        hidden = dict.fromkeys(one.get("data") or {}, SECRET_SHOWN)
        one = {**one, "data": hidden, "stringData": {}}
    return yaml.dump(one, Dumper=_Blocks, sort_keys=True).splitlines()


class _Blocks(yaml.SafeDumper):
    """Writes text of several lines as such, so that a difference is seen where it is."""


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
