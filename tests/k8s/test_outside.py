"""The chart with a PostgreSQL that somebody else runs: by URL, with its certificate verified."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness.cluster import REGISTRY, TAG, Namespace, new_namespace
from tests.harness.helm import Helm
from tests.k8s.test_release import Release, values

from dachub.deploy import backups
from dachub.deploy.helm import Cluster

PASSWORD = "of-somebody-else"
HOST = "postgres.dachub-test-outside.svc"
KEYS = "/run/keys"


def certificate(directory: Path) -> Path:
    """Make a certificate of that host, signed by itself; gives the file, its key beside it."""
    made = directory / "tls.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"),
            *("-keyout", directory / "tls.key", "-out", made),
        ],
        check=True,
        capture_output=True,
    )
    return made


def secret(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": data,
    }


def server() -> list[dict[str, Any]]:
    """A PostgreSQL with TLS, and its Service."""
    labels = {"app": "postgres"}
    files = {"ssl_cert_file": f"{KEYS}/tls.crt", "ssl_key_file": f"{KEYS}/tls.key"}
    settings = {"ssl": "on", **files}
    container = {
        "name": "postgres",
        "image": f"{REGISTRY}/postgres:{TAG}",
        "args": ["postgres", *(f"--{name}={value}" for name, value in settings.items())],
        "env": [
            {"name": "POSTGRES_USER", "value": "dachub"},
            {"name": "POSTGRES_PASSWORD", "value": PASSWORD},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
        ],
        "readinessProbe": {"exec": {"command": ["pg_isready", "--host=127.0.0.1"]}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "keys", "mountPath": KEYS},
            {"name": "data", "mountPath": "/var/lib/postgresql/data"},
        ],
    }
    spec = {
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o440}},
            {"name": "data", "emptyDir": {}},
        ],
    }
    meta = {"name": "postgres", "labels": labels}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
    ]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A namespace with such a server."""
    made = certificate(tmp_path_factory.mktemp("keys"))
    with new_namespace("dachub-test-outside") as here:
        pair = {"tls.crt": made.read_text(), "tls.key": made.with_name("tls.key").read_text()}
        secrets = [
            secret("keys", **pair),
            secret("authority", **{"ca.crt": pair["tls.crt"]}),
            secret("dachub-site", **{"database-password": PASSWORD}),
        ]
        here.do("create", "--filename=-", given=[*secrets, *server()])
        here.do("wait", "--for=condition=Ready", "pod/postgres", "--timeout=60s")
        yield here


def test_the_service_works_on_a_database_of_somebody_else(here: Namespace) -> None:
    release = Release(Helm.found(), here)
    given = values(
        replicas=1,
        database={
            "kind": "outside",
            "outside": {
                "url": f"postgresql://dachub@{HOST}:5432/dachub",
                "authority": {"secret": "authority"},
                "peers": [{"podSelector": {"matchLabels": {"app": "postgres"}}}],
            },
        },
        backup={"hubDatabase": {"claim": ""}},
    )
    release.bring(given)
    release.bring(given)  # the migration reaches it too
    assert [each["username"] for each in json.loads(release.people())] == ["admin"]
    encrypted = "select count(*) > 0 and bool_and(ssl) from pg_stat_ssl join pg_stat_activity"
    query = f"{encrypted} using (pid) where client_addr is not null"
    said = here.do("exec", "postgres", "--", "psql", "-U", "dachub", "-Atc", query)
    assert said.strip() == "t"
    assert re.search(r"/backups/dachub-\S+\.tar", backups.create(cluster_of(here)))
    release.remove()


def cluster_of(here: Namespace) -> Cluster:
    context = here.do("config", "current-context").strip()
    return Cluster(context, here.name)
