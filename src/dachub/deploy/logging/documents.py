"""What an OpenSearch or Elasticsearch is given: an index template and a policy for each kind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from dachub.config import Settings
from dachub.model.logs import LOG_FIELDS, LogKind

FIELDS_MAX = 200
WORD_MAX = 1024
PRIORITY = 200

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document of the store, and where it belongs.

    Attributes
    ----------
    digest
        Of what it says; it is kept in the document, and so tells whether something changed.
    """

    what: str
    path: str
    body: Document
    digest: str


def documents(settings: Settings) -> list[Wanted]:
    """All of them; policies first, because templates name them."""
    store = settings.logs.store
    if store is None:
        return []
    policy = _ism_policy if store.kind == "opensearch" else _ilm_policy
    wanted = [
        policy(name_of(store.prefix, kind), settings.log_days(kind), pattern_of(store.prefix, kind))
        for kind in LogKind
    ]
    is_elastic = store.kind == "elasticsearch"
    return wanted + [
        _template(
            name_of(store.prefix, kind), pattern_of(store.prefix, kind), store.replicas, is_elastic
        )
        for kind in LogKind
    ]


def name_of(prefix: str, kind: LogKind) -> str:
    """Name of a kind's template and policy."""
    return f"{prefix}-{kind}"


def pattern_of(prefix: str, kind: LogKind) -> str:
    """Names of a kind's indices: one a day, of the audit log one a month."""
    return f"{prefix}-{kind}-*"


def _template(name: str, pattern: str, replicas: int, names_policy: bool) -> Wanted:
    settings: Document = {
        "index.number_of_shards": 1,
        "index.number_of_replicas": replicas,
        "index.mapping.total_fields.limit": FIELDS_MAX,
    }
    if names_policy:
        settings["index.lifecycle.name"] = name
    body: Document = {
        "index_patterns": [pattern],
        "priority": PRIORITY,
        "template": {"settings": settings, "mappings": mappings()},
    }
    digest = _digest(body)
    body["_meta"] = {"dachub": digest}
    return Wanted(f"index template {name}", f"_index_template/{name}", body, digest)


def mappings() -> Document:
    """The fields that can be searched; what else a line has is kept and shown, but makes none."""
    return {
        "dynamic": False,
        "date_detection": False,
        "properties": {name: _mapping(field.type) for name, field in LOG_FIELDS.items()}
        | {"dachub.details": {"type": "object", "enabled": False}},
    }


def _mapping(kind: str) -> Document:
    return {"type": kind} | ({"ignore_above": WORD_MAX} if kind == "keyword" else {})


def _ism_policy(name: str, days: int | None, pattern: str) -> Wanted:
    gone = (
        []
        if days is None
        else [{"state_name": "gone", "conditions": {"min_index_age": f"{days}d"}}]
    )
    states: list[Document] = [{"name": "kept", "actions": [], "transitions": gone}]
    if gone:
        states.append({"name": "gone", "actions": [{"delete": {}}], "transitions": []})
    policy: Document = {
        "default_state": "kept",
        "states": states,
        "ism_template": [{"index_patterns": [pattern], "priority": PRIORITY}],
    }
    digest = _digest(policy)
    policy["description"] = f"dachub: {_kept(days)} ({digest})"
    return Wanted(
        f"policy {name}: {_kept(days)}",
        f"_plugins/_ism/policies/{name}",
        {"policy": policy},
        digest,
    )


def _ilm_policy(name: str, days: int | None, _pattern: str) -> Wanted:
    phases: Document = {"hot": {"actions": {}}}
    if days is not None:
        phases["delete"] = {"min_age": f"{days}d", "actions": {"delete": {}}}
    digest = _digest(phases)
    return Wanted(
        f"policy {name}: {_kept(days)}",
        f"_ilm/policy/{name}",
        {"policy": {"phases": phases, "_meta": {"dachub": digest}}},
        digest,
    )


def _kept(days: int | None) -> str:
    return "kept for ever" if days is None else f"deleted after {days} days"


def _digest(body: Document) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
