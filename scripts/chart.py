"""The values of the Helm chart: as a page, and what its schema says of ``config``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dachub.config import Settings

CHART = Path(__file__).parents[1] / "deploy" / "chart"
HEAD = """# Values of the chart

The Helm chart `deploy/chart` installs what is dachub's, beside an unmodified Zero to JupyterHub.
[On Kubernetes](kubernetes.md) says how it is used.
`dachub deploy` fills in from `dachub.yaml` what it can; everything has a default. A value that is
not named here, or cannot be meant, is refused before anything happens.
"""
TAIL = """## What it makes

| object | what it is |
|---|---|
| Deployment, Service `dachub` | the service; port 80 leads to the pods' port 8080 |
| StatefulSet, Service `dachub-postgres` | the database, where `database.kind` is `inside` |
| Deployment `dachub-storage` | measures homes and group folders, where `storage.enabled` |
| CronJob, PVC `dachub-backup` | [backups](backup.md), where `backup.enabled` |
| Job `dachub-migrate` | before each upgrade, removed when it succeeded |
| ConfigMap `dachub` | `dachub.yaml`; a change starts the pods anew, one after another |
| Secret `dachub` | random at first: hub-token, service-token, portal-secret, database-password, \
database-superuser-password, admin-password, metrics-token |
| PVC `dachub-outbox` | events that the hub keeps until the service has them |
| NetworkPolicies | each part reaches what it needs and no more; people's servers reach the \
service, never the database |
| PodDisruptionBudget, PriorityClasses | as the values say |
| ServiceMonitors `dachub`, `dachub-hub`, PrometheusRule, ConfigMap `dachub-dashboard` \
| [monitoring](monitoring.md), as the values say |

All pods run without root, on a read-only root file system, without capabilities, and pass the
*restricted* pod security standard. None gets a token for the cluster but the storage pod with
`storage.kind: volumes`, whose account may list volumes and read what machines say of them.

## New secrets

What is in the Secret `dachub` stays over upgrades. To have one drawn anew, take it out, upgrade,
and start what reads it again; `database-password` also has to be told to the database
(`ALTER ROLE dachub PASSWORD ...`) before the pods start.

```
kubectl patch secret dachub --type=json --patch='[{"op": "remove", "path": "/data/hub-token"}]'
helm upgrade dachub deploy/chart --reuse-values
kubectl rollout restart deployment/dachub deployment/hub
```

`helm rollback` brings the Secret back as it was then, too: start the same pods again after it. The
Secret named by `secrets.site` is not ours, and no change of it starts anything:
`kubectl rollout restart deployment/dachub`.

## What stays after `helm uninstall`

With `keepOnUninstall: true` the Secret `dachub` and the database's PVC `data-dachub-postgres-0`
stay, so that an installation of the same name goes on where the last one stopped. The PVC
`dachub-outbox` always stays: it may hold events that the service has not seen. So does
`dachub-backup` with the backups, and so do the Job and the ConfigMap `dachub-migrate` of an upgrade
that failed, for whoever looks for the reason, until the next one. To remove all, for ever:

```
kubectl delete secret/dachub pvc/dachub-outbox pvc/dachub-backup
kubectl delete pvc/data-dachub-postgres-0
kubectl delete job/dachub-migrate configmap/dachub-migrate --ignore-not-found
```

## When the database's first start is interrupted

The public PostgreSQL image prepares an empty volume once. If its pod is killed in these seconds,
the next start finds a half-made directory, and the service says that the role `dachub` does not
exist. Nothing is in it yet: remove the volume and let it begin anew.

```
kubectl delete pvc/data-dachub-postgres-0 --wait=false
kubectl delete pod/dachub-postgres-0
```
"""

SCHEMA = CHART / "values.schema.json"
# Definitions of that file whose names begin so are made of the settings.
OF_SETTINGS = "dachub.yaml "
WORDS = frozenset({"title", "description", "default", "format"})
LINE_CHARACTERS = 100


@dataclass(frozen=True)
class Value:
    """One value: its path with dots, what is said of it, its default and its part of the schema."""

    path: str
    comment: str
    default: Any
    schema: dict[str, Any]


def page() -> str:
    """Every value with its default, and what it may be."""
    rows = [
        f"| `{value.path}` | {_default(value)} | {_allowed(value.schema)} "
        f"| {_cell(value.comment)} |"
        for value in values()
    ]
    table = ["| value | default | allowed | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join([HEAD, "## Values", "", *table, TAIL])


def schema() -> str:
    """The schema with what ``dachub.yaml`` may be, so that Helm refuses a typing mistake in it."""
    whole = json.loads(SCHEMA.read_text(encoding="utf-8"))
    tree = Settings.model_json_schema(ref_template=f"#/definitions/{OF_SETTINGS}{{model}}")
    made = {f"{OF_SETTINGS}{name}": part for name, part in tree.pop("$defs").items()}
    by_hand = {
        name: part
        for name, part in whole["definitions"].items()
        if not name.startswith(OF_SETTINGS)
    }
    whole["definitions"] = by_hand | _bare({**made, f"{OF_SETTINGS}Settings": tree})
    return written(whole) + "\n"


def _bare(definitions: dict[str, Any]) -> dict[str, Any]:
    """Without words: those are in values.yaml and in the configuration's own page."""

    def without_words(part: Any) -> Any:
        if isinstance(part, list):
            return [without_words(each) for each in part]
        if not isinstance(part, dict):
            return part
        kept = {key: without_words(value) for key, value in part.items() if key not in WORDS}
        if "properties" in part:  # names of settings, whatever they are called
            kept["properties"] = {k: without_words(v) for k, v in part["properties"].items()}
        return kept

    return {name: without_words(part) for name, part in definitions.items()}


def written(part: Any, indent: int = 0, before: int = 0) -> str:
    """JSON with everything that fits on one line in one."""
    line = json.dumps(part)
    if not isinstance(part, dict | list) or indent + before + len(line) < LINE_CHARACTERS:
        return line
    pad, end = " " * (indent + 2), " " * indent
    if isinstance(part, list):
        items = ",\n".join(pad + written(each, indent + 2) for each in part)
        return f"[\n{items}\n{end}]"
    keys = {json.dumps(key): value for key, value in part.items()}
    items = ",\n".join(
        f"{pad}{key}: {written(value, indent + 2, len(key) + 3)}" for key, value in keys.items()
    )
    return f"{{\n{items}\n{end}}}"


def values() -> Iterator[Value]:
    """Every value and every group of values, in the order of values.yaml."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    yield from _below(yaml.compose(text), text.splitlines(), schema, schema, "")


def _below(
    node: Any, lines: list[str], part: dict[str, Any], schema: dict[str, Any], path: str
) -> Iterator[Value]:
    for key, value in node.value:
        inner = _resolved(part.get("properties", {}).get(key.value, {}), schema)
        name = f"{path}.{key.value}" if path else key.value
        comment = _comment_above(lines, key.start_mark.line)
        group = isinstance(value, yaml.MappingNode) and any(
            _comment_above(lines, each.start_mark.line) for each, _ in value.value
        )
        default = None if group else _plain(value)
        yield Value(name, comment, default, inner)
        if group:
            yield from _below(value, lines, inner, schema, name)


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").removeprefix("#/definitions/")
    return schema["definitions"][name] if name else part


def _comment_above(lines: list[str], line: int) -> str:
    said: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("# "):
        line -= 1
        said.insert(0, lines[line].strip().removeprefix("# "))
    return " ".join(said)


def _plain(node: Any) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _default(value: Value) -> str:
    if value.default is None:
        return ""
    return f"`{json.dumps(value.default)}`"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    return {"boolean": "true, false", "array": "list"}.get(schema.get("type", ""), "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
