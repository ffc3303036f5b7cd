"""The Helm chart: what it renders, and what it refuses; no cluster is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.chart import values
from tests.harness.helm import CHART, Helm, Objects

from dachub import __version__
from dachub.config import parse

GOLDEN = Path(__file__).parent / "golden" / "chart.yaml"
EVERYTHING: dict[str, Any] = {
    "config": {"mail": {"host": "mail.example.org", "sender": "dac@example.org", "port": 465}},
    "image": {"registry": "registry.example.org/dachub", "tag": "1.2", "pullSecrets": ["registry"]},
    "database": {
        "kind": "outside",
        "outside": {
            "url": "postgresql://dachub@db.example.org:6432/dachub",
            "authority": {"secret": "database-ca"},
        },
    },
    "backup": {
        "volume": {"existingClaim": "elsewhere"},
        "hubDatabase": {"subPath": "hub"},
    },
    "storage": {"enabled": True, "claim": "shared", "subPath": "dac"},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "runbooks": "https://docs.example.org/runbooks/"},
        "dashboard": {"enabled": True},
    },
    "priority": {"create": True},
    "scheduling": {"matchNodePurpose": "require", "nodeSelector": {"pool": "core"}},
    "service": {"env": [{"name": "TZ", "value": "UTC"}], "annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"c": "d"}},
}


@pytest.fixture(params=["helm", "helm4"])
def each_helm(request: pytest.FixtureRequest) -> Helm:
    """Every Helm that is there."""
    return Helm.found(request.param)


@pytest.fixture(scope="module")
def helm() -> Helm:
    return Helm.found()


@pytest.fixture(scope="module")
def defaults(helm: Helm) -> Objects:
    return helm.objects()


@pytest.fixture(scope="module")
def everything(helm: Helm) -> Objects:
    return helm.objects(EVERYTHING)


def both(name: str) -> pytest.MarkDecorator:
    """Run a test on the defaults and with everything switched on."""
    return pytest.mark.parametrize(name, ["defaults", "everything"], indirect=True)


@pytest.fixture
def objects(request: pytest.FixtureRequest) -> Objects:
    rendered: Objects = request.getfixturevalue(request.param)
    return rendered


def test_the_chart_is_of_the_same_version_as_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_every_value_says_what_it_is_and_the_schema_knows_it() -> None:
    known = list(values())
    assert [value.path for value in known if not value.comment] == []
    assert [value.path for value in known if not value.schema] == []


def test_the_schema_knows_nothing_that_is_no_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = {value.path for value in values()}
    groups = {path.rpartition(".")[0] for path in given}

    def properties(part: dict[str, Any], path: str) -> list[str]:
        inner = part.get("properties", {}) if path in groups else {}
        below = [
            each
            for key, value in inner.items()
            for each in properties(value, f"{path}.{key}" if path else key)
        ]
        return [path, *below] if path else below

    assert [path for path in properties(schema, "") if path not in given] == []


def test_the_schema_lets_no_unknown_key_pass() -> None:
    def open_objects(part: Any, path: str) -> list[str]:
        if isinstance(part, list):
            return [each for item in part for each in open_objects(item, path)]
        if not isinstance(part, dict):
            return []
        here = [path] if part.get("type") == "object" and "additionalProperties" not in part else []
        return here + [e for key, v in part.items() for e in open_objects(v, f"{path}/{key}")]

    schema = json.loads((CHART / "values.schema.json").read_text())
    # What a variable comes from is checked by the cluster.
    assert open_objects(schema, "") == [
        "/properties/service/properties/env/items/properties/valueFrom"
    ]


@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_finds_no_fault(each_helm: Helm, given: dict[str, Any]) -> None:
    done = each_helm.run("lint", "--strict", CHART, values=given)
    assert done.returncode == 0, done.stdout


WRONG = {
    "an unknown key": ({"replica": 3}, "replica"),
    "an unknown key further in": ({"database": {"inside": {"sizes": "1Gi"}}}, "sizes"),
    "text for a number": ({"replicas": "two"}, "replicas"),
    "nobody to serve": ({"replicas": 0}, "replicas"),
    "a database that is neither": ({"database": {"kind": "external"}}, "kind"),
    "outside, but where?": ({"database": {"kind": "outside"}}, "url"),
    "a password in the URL": (
        {"database": {"kind": "outside", "outside": {"url": "postgresql://u:pw@db/dachub"}}},
        "url",
    ),
    "another database system": ({"database": {"outside": {"url": "mysql://u@db/dachub"}}}, "url"),
    "a size without a unit": ({"outbox": {"size": "10"}}, "size"),
    "a size in words": ({"database": {"inside": {"volume": {"size": "10 GB"}}}}, "size"),
    "a registry with a scheme": (
        {"image": {"registry": "https://registry.example.org"}},
        "registry",
    ),
    "a tag with the image's name": ({"image": {"tag": "service:1.0"}}, "tag"),
    "a pull policy of no kind": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "storage without a volume": ({"storage": {"enabled": True}}, "claim"),
    "a yes in words": ({"networkPolicies": {"enabled": "yes"}}, "enabled"),
    "a public address with a path": (
        {"hub": {"publicUrl": "https://dac.example.org/hub"}},
        "publicUrl",
    ),
    "root": ({"storage": {"userId": 0}}, "userId"),
    "a memory of no amount": ({"service": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
    "a resource that is a typing mistake": (
        {"service": {"resources": {"limits": {"mem": "1Gi"}}}},
        "mem",
    ),
    "a peer that names nobody": ({"networkPolicies": {"mail": [{}]}}, "mail"),
    "an address for a network": (
        {"networkPolicies": {"mail": [{"ipBlock": {"cidr": "10.0.0.1"}}]}},
        "cidr",
    ),
    "a setting of PostgreSQL that is none": (
        {"database": {"inside": {"settings": {"max-connections": "5"}}}},
        "max-connections",
    ),
    "a schedule of four": ({"backup": {"schedule": "0 2 * *"}}, "schedule"),
    "no backup to keep": ({"backup": {"keep": 0}}, "keep"),
    "a volume for backups in words": ({"backup": {"volume": {"size": "large"}}}, "size"),
    "a drain without end": ({"service": {"drainSeconds": -1}}, "drainSeconds"),
    "a typing mistake in dachub.yaml": ({"config": {"servres": {}}}, "servres"),
    "one further in": ({"config": {"storage": {"home_byte": 5}}}, "home_byte"),
    "dachub.yaml as text": ({"config": "site: {}"}, "config"),
}


@pytest.mark.parametrize(("given", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_its_name(
    helm: Helm, given: dict[str, Any], named: str
) -> None:
    done = helm.template(given)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert named in done.stderr


def test_the_defaults_render_as_they_were_looked_at(
    each_helm: Helm, request: pytest.FixtureRequest
) -> None:
    lines = each_helm.template().stdout.splitlines()
    seen = "".join(f"{line}\n" for line in lines if line)  # Helm 4 leaves other empty ones
    # Secrets are drawn anew each time.
    seen = re.sub(r"(?m)^(  [a-z-]+-(?:token|secret|password): ).{44}$", r"\1(random)", seen)
    if request.config.getoption("--update-golden"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(seen)
    assert seen == GOLDEN.read_text(), "look at it, then: pytest --update-golden"


@both("objects")
def test_every_pod_has_no_more_rights_than_the_restricted_standard_allows(objects: Objects) -> None:
    for pod in objects.pods().values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 70
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        assert not any("hostPath" in volume for volume in spec["volumes"])


@both("objects")
def test_every_container_says_what_it_needs_and_is_limited(objects: Objects) -> None:
    for pod in objects.pods().values():
        for container in pod["spec"]["containers"]:
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@both("objects")
def test_every_pod_is_under_a_network_policy_in_both_directions(objects: Objects) -> None:
    policies = [each["spec"] for each in objects if each["kind"] == "NetworkPolicy"]
    for component, pod in objects.pods().items():
        over = [
            policy
            for policy in policies
            if policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
        assert [policy["policyTypes"] for policy in over] == [["Ingress", "Egress"]], component


def test_nobody_but_ours_reaches_the_database(defaults: Objects) -> None:
    (rule,) = defaults.one("NetworkPolicy", "dachub-postgres")["spec"]["ingress"]
    components = [
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in rule["from"]
    ]
    assert components == ["service", "storage", "migrate", "backup"]


def test_the_service_calls_only_names_database_hub_and_mail(everything: Objects) -> None:
    egress = everything.one("NetworkPolicy")["spec"]["egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in egress] == [
        [53, 53],
        [6432],
        [8081],
        [465],
    ]


def test_without_mail_the_service_calls_no_address_outside(defaults: Objects) -> None:
    egress = defaults.one("NetworkPolicy")["spec"]["egress"]
    assert all(rule["to"] for rule in egress)


@both("objects")
def test_dachub_understands_the_configuration(objects: Objects) -> None:
    text = objects.one("ConfigMap")["data"]["dachub.yaml"]
    settings = parse(text, "dachub.yaml")
    url = objects is not None and settings.database.url
    assert url in {
        "postgresql://dachub@dachub-postgres/dachub",
        "postgresql://dachub@db.example.org:6432/dachub",
    }
    assert objects.one("ConfigMap", "dachub-migrate")["data"]["dachub.yaml"] == text


def test_what_the_site_says_of_its_database_gives_way(helm: Helm) -> None:
    given = {"config": {"database": {"url": "postgresql://a@b/c", "password_file": "d"}}}
    text = helm.objects(given).one("ConfigMap")["data"]["dachub.yaml"]
    assert yaml.safe_load(text)["database"] == {"url": "postgresql://dachub@dachub-postgres/dachub"}


def test_another_configuration_starts_the_pods_anew(helm: Helm, defaults: Objects) -> None:
    def checksum(objects: Objects) -> str:
        return str(objects.pods()["service"]["metadata"]["annotations"]["checksum/config"])

    assert checksum(defaults) == checksum(helm.objects())
    assert checksum(defaults) != checksum(helm.objects({"config": {"site": {"name": "DAC"}}}))


def test_another_version_of_the_chart_leaves_the_database_running(
    helm: Helm, defaults: Objects, tmp_path: Path
) -> None:
    done = helm.run("package", CHART, "--version", "9.9.9", "--app-version", "9.9", "-d", tmp_path)
    assert done.returncode == 0, done.stderr
    next_one = helm.run(
        *("template", "dachub", tmp_path / "dachub-9.9.9.tgz", "--namespace", "dac"),
        *("--kube-version", "1.37.0"),
    )
    later = Objects(each for each in yaml.safe_load_all(next_one.stdout) if each)
    assert later.pods()["service"] != defaults.pods()["service"]
    assert later.pods()["postgres"] == defaults.pods()["postgres"]


def test_a_backup_finds_what_it_backs_up_and_reaches_the_database_alone(
    defaults: Objects,
) -> None:
    pod = defaults.pods()["backup"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][:3] == ["dachub", "backup", "create"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {
        "backups": "dachub-backup",
        "outbox": "dachub-outbox",
        "hub-database": "hub-db-dir",
    }
    assert {"dachub-backup", "dachub-outbox"} == defaults.names("PersistentVolumeClaim")
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    named = {one["name"]: one.get("value") for one in container["env"]}
    assert named["DACHUB_OUTBOX"].startswith(paths["outbox"])
    assert named["DACHUB_HUB_DATABASE"].startswith(paths["hub-database"])
    policy = defaults.one("NetworkPolicy", "dachub-backup")["spec"]
    assert "ingress" not in policy
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [
        [53, 53],
        [5432],
    ]


def test_two_backups_never_run_at_once_and_stand_beside_the_hub_whose_volumes_they_read(
    everything: Objects,
) -> None:
    spec = everything.one("CronJob", "dachub-backup")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    (beside,) = everything.pods()["backup"]["spec"]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert beside["labelSelector"]["matchLabels"] == {"app": "jupyterhub", "component": "hub"}


def test_backups_go_where_the_site_says_or_nowhere(helm: Helm, everything: Objects) -> None:
    volumes = {one["name"]: one for one in everything.pods()["backup"]["spec"]["volumes"]}
    assert volumes["backups"]["persistentVolumeClaim"]["claimName"] == "elsewhere"
    assert "dachub-backup" not in everything.names("PersistentVolumeClaim")
    without = helm.objects({"backup": {"hubDatabase": {"claim": ""}}}).pods()["backup"]["spec"]
    assert "hub-database" not in {one["name"] for one in without["volumes"]}
    nothing = helm.objects({"backup": {"enabled": False}})
    kinds = ("CronJob", "PersistentVolumeClaim", "NetworkPolicy")
    assert not any("dachub-backup" in nothing.names(kind) for kind in kinds)


def test_an_instance_that_keeps_nothing_marks_nothing_to_be_kept(helm: Helm) -> None:
    objects = helm.objects({"keepOnUninstall": False})
    assert "annotations" not in objects.one("Secret")["metadata"]
    retention = objects.one("StatefulSet", "dachub-postgres")["spec"]
    assert retention["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


def test_instances_in_one_cluster_do_not_share_what_is_not_in_a_namespace(helm: Helm) -> None:
    given = {"priority": {"create": True}}
    first, second = helm.objects(given), helm.objects(given, "--namespace", "dac-dev")
    assert not first.names("PriorityClass") & second.names("PriorityClass")


def test_secrets_that_others_make_are_not_made(helm: Helm) -> None:
    assert helm.objects({"secrets": {"create": False}}).names("Secret") == set()


def test_only_who_measures_volumes_asks_the_cluster_and_may_only_read(helm: Helm) -> None:
    values = {
        "storage": {"enabled": True, "kind": "volumes"},
        "config": {"storage": {"method": "volumes"}},
    }
    objects = helm.objects(values)
    tokens = {
        component: (pod["spec"]["serviceAccountName"], pod["spec"]["automountServiceAccountToken"])
        for component, pod in objects.pods().items()
    }
    assert tokens.pop("storage") == ("dachub-storage", True)
    assert set(tokens.values()) == {("dachub", False)}
    rights = {
        (each["kind"], resource, verb)
        for each in objects
        if each["kind"] in {"Role", "ClusterRole"}
        for rule in each["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        ("Role", "persistentvolumeclaims", "list"),
        ("ClusterRole", "nodes", "list"),
        ("ClusterRole", "nodes/stats", "get"),
    }
    assert {each["name"] for each in objects.pods()["storage"]["spec"]["volumes"]} == {
        "config",
        "tmp",
    }
