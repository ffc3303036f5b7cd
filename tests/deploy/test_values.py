"""Values for both charts, made of one ``dachub.yaml``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dachub.config import ConfigurationError, Settings, load, merged, parse
from dachub.deploy import chart, releases, z2jh
from dachub.hub.settings import HubSettings

SITE = """
site: {name: DAC, contact: dac@example.org}
listen: {public_url: https://dac.example.org/}
login:
  openid: {issuer: https://idp.example.org, client_id: dac, client_secret_file: oidc-secret}
servers:
  sizes:
    - {name: small, milli_cores: 1500, memory_bytes: 2000000000}
  environments:
    - {name: astronomy}
    - {name: lsst_stack, image: "registry.example.org/lsst/stack:w_2026_47"}
cluster:
  images: {registry: registry.example.org/dac, tag: "1.2"}
"""
SECRETS = ("hub-token", "service-token", "oidc-client-secret")


def settings(more: str = "") -> Settings:
    return parse(SITE + more, "dachub.yaml")


def hub_of(values: dict[str, Any]) -> HubSettings:
    return HubSettings.model_validate(values["hub"]["extraFiles"]["dachub.json"]["data"])


def test_the_hubs_configuration_is_one_call() -> None:
    code = z2jh.values(settings())["hub"]["extraConfig"]
    assert code == {"dachub": "import dachub.hub\ndachub.hub.configure(c)\n"}


def test_what_the_hub_is_told_can_be_read_by_it_and_names_no_file_of_the_operators() -> None:
    told = hub_of(z2jh.values(settings()))
    assert told.public_url == "https://dac.example.org"
    assert told.pods is not None
    assert told.machine is None
    assert told.login.openid is not None
    assert told.login.openid.client_secret_file is None


def test_secrets_are_named_never_given(tmp_path: Path) -> None:
    (tmp_path / "oidc-secret").write_text("a-secret-of-the-provider")
    (tmp_path / "dachub.yaml").write_text(SITE)
    read = load(tmp_path / "dachub.yaml")
    assert chart.site_secrets(read) == {"oidc-client-secret": "a-secret-of-the-provider"}
    given = json.dumps([z2jh.values(read), chart.values(read)])
    assert "a-secret-of-the-provider" not in given
    assert str(tmp_path) not in given
    for name in SECRETS:
        assert name in given


def test_an_environment_without_an_image_has_ours_of_its_name() -> None:
    images = {one.name: one.image for one in hub_of(z2jh.values(settings())).servers.environments}
    assert images == {
        "astronomy": "registry.example.org/dac/dachub-astronomy:1.2",
        "lsst_stack": "registry.example.org/lsst/stack:w_2026_47",
    }


def test_images_are_pulled_before_they_are_needed() -> None:
    assert z2jh.values(settings())["prePuller"]["extraImages"] == {
        "astronomy": {"name": "registry.example.org/dac/dachub-astronomy", "tag": "1.2"},
        "lsst-stack": {"name": "registry.example.org/lsst/stack", "tag": "w_2026_47"},
    }


def test_placeholders_are_as_large_as_the_preset_size() -> None:
    values = z2jh.values(settings("  machines: {placeholders: 3}"))
    assert values["scheduling"]["userPlaceholder"] == {"enabled": True, "replicas": 3}
    assert values["singleuser"]["cpu"] == {"guarantee": 1.5, "limit": 1.5}
    assert values["singleuser"]["memory"]["limit"] == 2_000_000_000


def test_a_shared_file_system_is_mounted_by_person_and_measured_beside() -> None:
    shared = settings("  homes: {kind: shared, claim: cephfs}")
    storage = z2jh.values(shared)["singleuser"]["storage"]
    assert storage["static"] == {"pvcName": "cephfs", "subPath": "homes/{unescaped_username}"}
    assert chart.values(shared)["storage"]["claim"] == "cephfs"
    assert chart.values(shared)["config"]["storage"]["homes"] == "/srv/dachub/homes"


def test_what_the_site_says_itself_wins() -> None:
    values = z2jh.values(settings("  hub: {values: {hub: {image: {tag: mine}}, cull: {every: 7}}}"))
    assert values["hub"]["image"]["tag"] == "mine"
    assert values["hub"]["image"]["name"] == "registry.example.org/dac/dachub-hub"
    assert values["cull"]["every"] == 7
    ours = chart.values(settings("  values: {replicas: 5}"))
    assert ours["replicas"] == 5


def test_a_cluster_needs_a_public_address() -> None:
    with pytest.raises(ConfigurationError, match=r"listen\.public_url"):
        z2jh.values(parse("site: {name: DAC}", "dachub.yaml"))


def test_the_services_configuration_can_be_read_by_the_service() -> None:
    given = chart.values(settings())["config"]
    read = parse(yaml.safe_dump(given), "dachub.yaml")
    read.require_safe_listening()
    assert read.site.name == "DAC"
    assert read.listen.behind_proxy


def test_logs_are_sent_under_the_names_that_the_store_was_prepared_for() -> None:
    store = "logs: {store: {url: https://logs.example.org, prefix: dac-dev}}"
    assert chart.values(parse(SITE + store, "dachub.yaml"))["logging"] == {"prefix": "dac-dev"}


def test_two_instances_share_no_name_of_the_whole_cluster() -> None:
    text = SITE + "instances: {dev: {cluster: {namespace: dac-dev}}}"
    main, dev = (parse(text, "dachub.yaml", instance=name) for name in (None, "dev"))
    assert releases.wanted(main)[1].name != releases.wanted(dev)[1].name


@pytest.mark.parametrize(
    ("size_bytes", "quantity"),
    [(10**9, "1G"), (1_500_000_000, "1500M"), (10**12, "1T"), (1024, "2k"), (1, "1k")],
)
def test_sizes_are_written_as_kubernetes_does_and_never_less(
    size_bytes: int, quantity: str
) -> None:
    assert z2jh.quantity(size_bytes) == quantity


def revision(number: int, status: str = "superseded", description: str = "") -> dict[str, object]:
    return {"revision": number, "status": status, "description": description}


@pytest.mark.parametrize(
    ("history", "before"),
    [
        ([revision(1, "deployed")], None),
        ([revision(1), revision(2, "deployed")], 1),
        ([revision(1), revision(2), revision(3, "deployed", "Rollback to 1")], None),
        ([revision(1), revision(2, "failed"), revision(3, "deployed")], 1),
        (
            [
                *map(revision, (1, 2)),
                revision(3, "failed"),
                revision(4, "deployed", "Rollback to 2"),
            ],
            1,
        ),
    ],
)
def test_going_back_is_to_what_really_ran_before(
    history: list[dict[str, object]], before: int | None
) -> None:
    assert releases.revision_before(history) == before


@pytest.mark.skipif("Z2JH_CHART" not in os.environ, reason="Z2JH_CHART names no chart")
def test_zero_to_jupyterhub_knows_every_value() -> None:
    import jsonschema

    directory = Path(os.environ["Z2JH_CHART"])
    schema = yaml.safe_load((directory / "values.schema.yaml").read_text())
    defaults = yaml.safe_load((directory / "values.yaml").read_text())
    for more in ("", "  homes: {kind: shared, claim: cephfs}", "  machines: {placeholders: 2}"):
        jsonschema.validate(merged(defaults, z2jh.values(settings(more))), schema)
