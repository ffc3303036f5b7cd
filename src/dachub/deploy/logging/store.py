"""Brings a store of logs to what the configuration says; doing it again changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from dachub.cluster.logs import LogStoreSettings
from dachub.config import LOGS_PASSWORD, ConfigurationError, Settings, read_secret
from dachub.deploy.logging.documents import Wanted, documents, name_of, pattern_of
from dachub.deploy.logging.searches import saved_objects
from dachub.model.logs import LogKind
from dachub.model.problems import Unavailable

TIMEOUT_SECONDS = 30
# Dashboards and Kibana each want their own word that this is no page's doing.
NO_FORGERY = {"osd-xsrf": "true", "kbn-xsrf": "true"}


class LogStoreRefused(Unavailable):
    """The store of logs does not answer, or does not take what it is given."""

    code = "log-store-refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of the things wanted."""

    what: str
    result: str  # made, changed, unchanged


def prepare(settings: Settings) -> Iterator[Outcome]:
    """Bring the store to what is configured, one thing after another.

    Raises
    ------
    ConfigurationError
        If no store is configured, or its password cannot be read.
    LogStoreRefused
        At the first thing that it refuses; what was done before stays.
    """
    store = settings.logs.store
    if store is None:
        raise ConfigurationError(
            "No store of logs is configured: say in logs.store which OpenSearch or Elasticsearch."
        )
    password = read_secret(store.password_file, LOGS_PASSWORD)
    with httpx.Client(
        auth=(store.username, password or "") if store.username else None,
        verify=str(store.ca_file) if store.ca_file else True,
        timeout=TIMEOUT_SECONDS,
    ) as client:
        api = _Api(client, store.url.rstrip("/"))
        for wanted in documents(settings):
            yield _put(api, wanted)
        if store.kind == "opensearch":
            _hold_to_policies(api, store.prefix)
        if store.dashboards_url is not None:
            yield _import(client, store, store.dashboards_url.rstrip("/"))


@dataclass(frozen=True, slots=True)
class _Api:
    client: httpx.Client
    url: str

    def ask(self, method: str, path: str, body: object = None, missing: bool = False) -> Any:
        """The answer; ``None`` where nothing is there and that is ``missing``'s right."""
        answer = _sent(self.client, method, f"{self.url}/{path}", json=body)
        if missing and answer.status_code == 404:
            return None
        _require_good(answer, path)
        return answer.json()


def _put(api: _Api, wanted: Wanted) -> Outcome:
    before = api.ask("GET", wanted.path, missing=True)
    if before is not None and wanted.digest in str(before):
        return Outcome(wanted.what, "unchanged")
    path = wanted.path
    if before is not None and "_seq_no" in before:  # ISM: only who has read it may change it
        path += f"?if_seq_no={before['_seq_no']}&if_primary_term={before['_primary_term']}"
    api.ask("PUT", path, wanted.body)
    return Outcome(wanted.what, "made" if before is None else "changed")


def _hold_to_policies(api: _Api, prefix: str) -> None:
    """Have indices that are there follow their policies as well; new ones do by themselves."""
    for kind in LogKind:
        body = {"policy_id": name_of(prefix, kind)}
        pattern = pattern_of(prefix, kind)
        api.ask("POST", f"_plugins/_ism/add/{pattern}", body, missing=True)
        api.ask("POST", f"_plugins/_ism/change_policy/{pattern}", body, missing=True)


def _import(client: httpx.Client, store: LogStoreSettings, url: str) -> Outcome:
    answer = _sent(
        client,
        "POST",
        f"{url}/api/saved_objects/_import?overwrite=true",
        headers=NO_FORGERY,
        files={"file": ("dachub.ndjson", saved_objects(store.prefix), "application/ndjson")},
    )
    _require_good(answer, "saved searches and dashboard")
    said = answer.json()
    if not said.get("success"):
        raise LogStoreRefused(f"{url} refused saved searches: {str(said)[:500]}")
    return Outcome(f"{said.get('successCount', 0)} searches, charts and dashboards", "made")


def _sent(client: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response:
    try:
        return client.request(method, url, **more)
    except httpx.HTTPError as error:
        raise LogStoreRefused(
            f"{url} does not answer ({type(error).__name__}: {error}). Check logs.store."
        ) from error


def _require_good(answer: httpx.Response, what: str) -> None:
    if answer.status_code in {401, 403}:
        raise LogStoreRefused(
            f"The store of logs does not let us in for {what} (HTTP {answer.status_code}). Check "
            f"logs.store.username and its password (logs.store.password_file or {LOGS_PASSWORD})."
        )
    if answer.status_code == 400 and "no handler found" in answer.text:
        raise LogStoreRefused(
            f"This store of logs knows no {what}: it lacks index management, or logs.store.kind is "
            "not what it is."
        )
    if answer.is_error:
        raise LogStoreRefused(
            f"The store of logs refused {what} (HTTP {answer.status_code}): {answer.text[:500]}"
        )
