"""Images from the sources to *recommended*; the builder is a script that notes what it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dachub import config
from dachub.cli.main import app
from dachub.cluster import records
from dachub.deploy import images, recipes, smoke, z2jh
from dachub.model.problems import NotFound
from dachub.model.software import Environment, Software

ROOT = Path(__file__).parents[2]
REGISTRY = "registry.example.org/dac"
SITE: dict[str, Any] = {
    "listen": {"public_url": "https://dac.example.org"},
    "cluster": {"images": {"registry": REGISTRY, "tag": "1.0", "base": "base@sha256:1"}},
    "servers": {
        "environments": [
            {
                "name": "astronomy",
                "versions": [
                    {"name": date(2026, 11, 23)},
                    {"name": date(2026, 11, 20)},
                    {"name": "2026-06-01", "retired_on": date(2026, 11, 24)},
                    {"name": "other", "image": "quay.io/others/astronomy:7"},
                ],
                "aliases": {"weekly": date(2026, 11, 23)},
            },
            {"name": "photo_z"},
        ]
    },
}
FAKE = """#!/bin/sh
echo "$0 $@" >> {notes}
case "$1 $2" in
"info "*) exit {info} ;;
"image inspect") echo '[{{"Id": "sha256:abc", "Size": 42000000, "RepoDigests": []}}]' ;;
"push "*) echo noise >&2; echo "denied: who are you?" >&2; exit {push} ;;
esac
"""

Dachub = Callable[..., Result]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "dachub.yaml"
    path.write_text(yaml.safe_dump(SITE))
    return path


@pytest.fixture
def dachub(site: Path) -> Dachub:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["image", *arguments, "--config", str(site)])

    return run


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What docker was told; podman is there, but does not work."""
    directory, notes = tmp_path / "bin", tmp_path / "notes"
    directory.mkdir()
    for program, info in (("docker", 0), ("podman", 1)):
        (directory / program).write_text(FAKE.format(notes=notes, info=info, push=0))
        (directory / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return notes


def interpreters(path: Path, *modules: str) -> None:
    """Make it the configuration of one machine, whose versions are the tests' own Python."""
    versions = [{"name": name, "interpreter": sys.executable} for name in ("2", "1")]
    environment = {"name": "astronomy", "modules": modules, "versions": versions}
    path.write_text(yaml.safe_dump({"servers": {"environments": [environment]}}))


def test_machines_pull_what_is_offered_the_preset_one_first(site: Path) -> None:
    with records.changed(site) as kept:
        kept.recommended["astronomy"] = "2026-11-20"
    settings = config.load(site)
    offered = images.offered_images(settings, date(2026, 11, 24))
    assert list(offered) == [
        "astronomy:2026-11-20",
        "astronomy:2026-11-23",
        "astronomy:other",
        "photo_z",
    ]
    assert offered["astronomy:2026-11-20"] == f"{REGISTRY}/dachub-astronomy:2026-11-20"
    assert offered["photo_z"] == f"{REGISTRY}/dachub-photo_z:1.0"
    values = z2jh.values(settings)
    assert values["prePuller"]["extraImages"]["astronomy-other"] == {
        "name": "quay.io/others/astronomy",
        "tag": "7",
    }
    assert values["singleuser"]["image"]["tag"] == "2026-11-20"
    told = values["hub"]["extraFiles"]["dachub.json"]["data"]["servers"]["environments"][0]
    assert told["aliases"]["recommended"] == "2026-11-20"
    assert told["versions"][1]["image"] == f"{REGISTRY}/dachub-astronomy:2026-11-20"


def test_the_platform_starts_also_when_what_was_recommended_is_gone(site: Path) -> None:
    with records.changed(site) as kept:
        kept.recommended["astronomy"] = "1999"
    (environment, _) = config.load(site).servers.environments
    assert environment.aliases == {"weekly": "2026-11-23"}


def test_one_image_is_built_for_each_version_that_is_not_of_others(site: Path) -> None:
    found = recipes.own_images(config.load(site))
    assert [one.name for one in found] == [
        "hub",
        "service",
        "astronomy:2026-11-23",
        "astronomy:2026-11-20",
        "astronomy:2026-06-01",
        "photo_z",
    ]


def test_every_recipe_is_of_files_that_are_there_and_reach_the_build(site: Path) -> None:
    settings = config.load(site)
    for jupyterhub in (5, 6):
        changed = settings.cluster.images.model_copy(update={"jupyterhub": jupyterhub})
        cluster = settings.cluster.model_copy(update={"images": changed})
        for own in recipes.own_images(settings.model_copy(update={"cluster": cluster})):
            recipe = recipes.recipe(own, changed, ROOT)
            text = recipe.containerfile.read_text()
            assert text.count("USER 1000:") == 1
            lock = (ROOT / recipe.arguments["REQUIREMENTS"]).read_text()
            assert "--hash=sha256:" in lock
            if own.name != "service":  # hub and servers are of one generation
                assert f"\njupyterhub=={jupyterhub}." in lock
    allowed = (ROOT / ".dockerignore").read_text()
    assert "!requirements/*.txt" in allowed


def test_a_build_is_told_what_it_needs_and_what_came_of_it_is_kept(
    site: Path, dachub: Dachub, notes: Path
) -> None:
    secret = site.with_name("pip.conf")
    secret.write_text("[global]\nindex-url = https://user:password@pypi.example.org/simple\n")
    built = dachub("build", "hub", "--sources", str(ROOT), "--pip-config", str(secret))
    assert built.exit_code == 0, built.output
    told = notes.read_text()
    assert "password" not in told
    assert f"--secret id=pip.conf,src={secret}" in told
    assert "--build-arg BASE_IMAGE=base@sha256:1" in told
    assert f"--tag {REGISTRY}/dachub-hub:1.0" in told
    record = records.read(site).of(f"{REGISTRY}/dachub-hub:1.0")
    assert (record.digest, record.bytes) == ("sha256:abc", 42_000_000)
    listed = json.loads(dachub("list", "--json").stdout)
    assert listed[0]["digest"] == "sha256:abc"
    assert listed[0]["built_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("build", "nothing"), "not-found"),
        (("build", "--builder", "img"), "no-builder"),
        (("build", "hub", "--builder", "kaniko"), "invalid-input"),
        (("build", "hub", "--requirements", "../secrets.txt"), "invalid-input"),
        (("build", "--requirements", "requirements/user.txt"), "invalid-input"),
        (("test", "nothing"), "not-found"),
        (("test", "astronomy:2026-06-01"), "version-retired"),
        (("recommend", "photo_z", "1"), "environment-not-available"),
    ],
)
@pytest.mark.usefixtures("notes")
def test_what_cannot_be_done_is_told_with_a_code(
    dachub: Dachub, arguments: tuple[str, ...], code: str
) -> None:
    sources = ("--sources", str(ROOT)) if arguments[0] == "build" else ()
    done = dachub(*arguments, *sources)
    assert done.exit_code == 1
    assert f"[{code}]" in done.stderr


def test_a_registry_that_refuses_is_told_with_the_way_to_log_in(
    dachub: Dachub, notes: Path
) -> None:
    docker = notes.with_name("bin") / "docker"
    docker.write_text(FAKE.format(notes=notes, info=0, push=1))
    done = dachub("push", "service")
    assert "denied: who are you?" in done.stderr
    assert "docker login registry.example.org" in done.stderr
    assert "[image-push-failed]" in done.stderr


@pytest.mark.parametrize(
    ("registry", "insecure", "option"),
    [
        ("127.0.0.1:5000/dac", False, "--tls-verify=false"),
        ("localhost:5000/dac", False, "--tls-verify=false"),
        ("[::1]:5000/dac", False, "--tls-verify=false"),
        ("registry.example.org/dac", True, "--tls-verify=false"),
        ("registry.example.org/dac", False, None),
        ("localhost.example.org/dac", False, None),
        ("127.0.0.1.example.org/dac", False, None),
    ],
)
def test_tls_is_left_out_on_loopback_or_where_the_site_says_so(
    dachub: Dachub, site: Path, notes: Path, registry: str, insecure: bool, option: str | None
) -> None:
    podman = notes.with_name("bin") / "podman"
    podman.write_text(f'#!/bin/sh\necho "$@" >> {notes}\necho sha256:1 > "${{2#--digestfile=}}"\n')
    tree = yaml.safe_load(site.read_text())
    tree["cluster"]["images"] |= {"registry": registry, "insecure": insecure}
    site.write_text(yaml.safe_dump(tree))
    done = dachub("push", "service", "--builder", "podman")
    assert done.exit_code == 0, done.stderr
    told = notes.read_text().split()
    assert [word for word in told if word.startswith("--tls-verify")] == (
        [option] if option else []
    )
    assert told[-1] == f"{registry}/dachub-service:1.0"
    jobs = dachub("build", "hub", "--builder", "kaniko", "--context", "git://git.example.org/dac")
    assert ("--insecure" in jobs.stdout) == (option is not None)


def test_a_registry_without_tls_is_told_as_such(dachub: Dachub, notes: Path) -> None:
    podman = notes.with_name("bin") / "podman"
    podman.write_text(
        "#!/bin/sh\necho http: server gave HTTP response to HTTPS client >&2\nexit 125\n"
    )
    done = dachub("push", "service", "--builder", "podman")
    assert done.exit_code == 1
    assert "cluster.images.insecure" in done.stderr


def test_a_cluster_builds_with_kaniko_and_its_own_login(site: Path, dachub: Dachub) -> None:
    tree = yaml.safe_load(site.read_text())
    tree["cluster"]["images"]["pull_logins"] = ["registry-login"]
    site.write_text(yaml.safe_dump(tree))
    done = dachub(
        "build", "hub", "--builder", "kaniko", "--context", "git://git.example.org/dachub"
    )
    job = yaml.safe_load(done.stdout)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "--dockerfile=deploy/images/hub/Containerfile" in container["args"]
    assert f"--destination={REGISTRY}/dachub-hub:1.0" in container["args"]
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == "registry-login"


def test_nothing_is_recommended_that_passed_no_test(site: Path, dachub: Dachub) -> None:
    interpreters(site, "json")
    refused = dachub("recommend", "astronomy", "1")
    assert "[not-tested]" in refused.stderr
    assert dachub("test", "astronomy:1").exit_code == 0
    done = dachub("recommend", "astronomy", "1")
    assert done.exit_code == 0, done.stderr
    (environment,) = config.load(site).servers.environments
    assert environment.software(None, date(2026, 11, 24)).name == "astronomy:1"


def test_what_changed_since_its_test_is_not_recommended(site: Path, dachub: Dachub) -> None:
    interpreters(site)
    with records.changed(site) as kept:
        kept.of(sys.executable).smoke_test = records.SmokeTest(
            digest="sha256:before", tested_at="2026-11-20T00:00:00Z", python="3.12"
        )
    refused = dachub("recommend", "astronomy", "2")
    assert "is not what passed the smoke test" in refused.stderr
    assert records.read(site).recommended == {}


def test_who_breaks_a_promise_fails_and_an_earlier_success_is_forgotten(
    site: Path, dachub: Dachub
) -> None:
    interpreters(site, "no_such_module")
    with records.changed(site) as kept:
        kept.of(sys.executable).smoke_test = records.SmokeTest(
            digest="sha256:before", tested_at="2026-11-20T00:00:00Z", python="3.12"
        )
    failed = dachub("test", "astronomy:1")
    assert "No module named 'no_such_module'" in failed.stderr
    assert "[smoke-test-failed]" in failed.stderr
    assert records.read(site).of(sys.executable).smoke_test is None


def test_an_image_that_was_built_again_has_passed_nothing(site: Path) -> None:
    test = records.SmokeTest(digest="sha256:1", tested_at="2026-11-20T00:00:00Z", python="3.12")
    assert smoke.is_tested(records.ImageRecord(digest="sha256:1", smoke_test=test))
    assert not smoke.is_tested(records.ImageRecord(digest="sha256:2", smoke_test=test))


def test_a_record_that_cannot_be_read_is_told_and_never_overwritten(
    site: Path, dachub: Dachub
) -> None:
    record = site.with_name("images.json")
    record.write_text("{half")
    assert "[image-record-unusable]" in dachub("list").stderr
    assert record.read_text() == "{half"


def test_software_that_names_nothing_to_run_is_refused(site: Path) -> None:
    with pytest.raises(NotFound, match="neither image nor interpreter"):
        smoke.passed(site, Environment(name="astronomy"), Software(name="astronomy"), None)
