"""``dachub image``: container images and environments, from the sources to *recommended*."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel

from dachub import config
from dachub.cli.options import ConfigOption, InstanceOption, JsonOption
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import configuration_of
from dachub.cluster import records
from dachub.cluster.records import SmokeTest
from dachub.config import Settings
from dachub.deploy import builders, images, recipes, smoke
from dachub.local.wiring import with_interpreters
from dachub.model.problems import InvalidInput, NotFound
from dachub.model.software import Environment, Software
from dachub.model.units import spoken_bytes

app = typer.Typer(help="Container images and environments of servers.", no_args_is_help=True)
KANIKO = "kaniko"

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="hub, service, an environment or its version (astronomy:2026-11-20); else all.",
        show_default=False,
    ),
]
SoftwareArgument = Annotated[
    str, typer.Argument(metavar="ENVIRONMENT", help="An environment, with :VERSION if it has some.")
]
BuilderOption = Annotated[
    str | None,
    typer.Option(
        "--builder", help="docker, podman or buildah; else the first of them that works here."
    ),
]


class Shown(BaseModel):
    """What a site offers, or builds, as it stands."""

    name: str
    image: str | None = None
    interpreter: str | None = None
    aliases: list[str] = []
    retired_on: date | None = None
    bytes: int | None = None
    digest: str | None = None
    built_at: datetime | None = None
    pushed_digest: str | None = None
    smoke_tested_at: datetime | None = None


LIST: Columns[Shown] = {
    "name": lambda one: one.name,
    "image or interpreter": lambda one: one.image or one.interpreter,
    "alias": lambda one: one.aliases,
    "size": lambda one: one.bytes and spoken_bytes(one.bytes),
    "digest": lambda one: one.digest and one.digest[:19],
    "built": lambda one: one.built_at,
    "smoke test": lambda one: one.smoke_tested_at,
    "retired on": lambda one: one.retired_on,
}
TEST: Columns[SmokeTest] = {
    "digest": lambda test: test.digest,
    "Python": lambda test: test.python,
    "packages": lambda test: [f"{name} {version}" for name, version in test.packages.items()],
    "passed": lambda test: test.tested_at,
}


@app.command("build")
def build(
    names: NamesArgument = None,
    builder: Annotated[
        str | None,
        typer.Option(
            "--builder",
            help="docker, podman, buildah, else the first of them that works here; or kaniko, "
            "which prints Jobs for the cluster.",
        ),
    ] = None,
    sources: Annotated[
        Path | None, typer.Option("--sources", help="dachub's sources.", show_default=False)
    ] = None,
    requirements: Annotated[
        str | None,
        typer.Option(
            "--requirements",
            metavar="FILE",
            help="Another lock with hashes for one environment: a path below requirements/.",
        ),
    ] = None,
    pip_config: Annotated[
        Path | None,
        typer.Option(
            "--pip-config", help="pip.conf for the build only; never in the image.", exists=True
        ),
    ] = None,
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--certificates",
            help="Authorities to trust during the build only; never in the image.",
            exists=True,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", help="Where kaniko finds the sources, such as git://HOST/PATH."),
    ] = None,
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Build images of hub, service and environments, from locked requirements."""
    file, settings = _settings(path, instance)
    chosen = recipes.chosen(settings, names or [])
    if requirements is not None and len(chosen) != 1:
        raise InvalidInput("Requirements are of one image: name it.")
    if builder == KANIKO:
        if context is None:
            raise InvalidInput("Say where kaniko finds the sources, with --context.")
        jobs = [recipes.kaniko_job(one, settings, context) for one in chosen]
        typer.echo(yaml.safe_dump_all(jobs, sort_keys=False), nl=False)
        return
    program = builders.find(builder)
    given = {"pip.conf": pip_config, "certificates": certificates}
    secrets = {name: at.absolute() for name, at in given.items() if at is not None}
    where = recipes.find_sources(sources)
    for one in chosen:
        program.build(recipes.recipe(one, settings.cluster.images, where, requirements, secrets))
        built = program.about(one.image)
        with records.changed(file) as kept:
            record = kept.of(one.image)
            record.digest, record.bytes, record.built_at = built.digest, built.bytes, _now()
        typer.echo(f"{one.image}  {spoken_bytes(built.bytes)}  {built.digest}")


@app.command("push")
def push(
    names: NamesArgument = None,
    builder: BuilderOption = None,
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Push built images to the site's registry; log in to it with the builder first."""
    file, settings = _settings(path, instance)
    if not settings.cluster.images.registry:
        raise InvalidInput("Say where images go: cluster.images.registry in the configuration.")
    program = builders.find(builder)
    for one in recipes.chosen(settings, names or []):
        digest = program.push(one.image, plain_http=settings.cluster.images.plain_http)
        with records.changed(file) as kept:
            record = kept.of(one.image)
            record.pushed_at, record.pushed_digest = _now(), digest
        typer.echo(f"{one.image}  {digest or 'pushed'}")


@app.command("list")
def list_images(
    path: ConfigOption = None, instance: InstanceOption = None, as_json: JsonOption = False
) -> None:
    """List what servers start with, and the platform's own images: built, tested, recommended."""
    file, settings = _settings(path, instance)
    kept = records.read(file)
    rows = []
    if _on_cluster(settings):
        rows = [
            _shown(Software(name=one.name, image=one.image), kept)
            for one in recipes.own_images(settings)
            if one.name in {"hub", "service"}
        ]
    for environment in _environments(settings).values():
        for version in environment.versions:
            row = _shown(
                Software(
                    name=f"{environment.name}:{version.name}",
                    interpreter=version.interpreter,
                    image=version.image,
                ),
                kept,
            )
            row.aliases = environment.aliases_of(version)
            row.retired_on = version.retired_on
            rows.append(row)
        if not environment.versions:
            rows.append(_shown(environment.software(None, _now().date()), kept))
    print_list(rows, LIST, as_json=as_json)


@app.command("test")
def smoke_test(
    name: SoftwareArgument,
    builder: BuilderOption = None,
    path: ConfigOption = None,
    instance: InstanceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an environment: import what it promises, execute a notebook, keep the result."""
    file, settings = _settings(path, instance)
    environment, software = _software(settings, name)
    print_one(smoke.passed(file, environment, software, builder), TEST, as_json=as_json)


@app.command("recommend")
def recommend(
    name: SoftwareArgument,
    version: Annotated[str, typer.Argument(help="The version, or an alias of it.")],
    builder: BuilderOption = None,
    path: ConfigOption = None,
    instance: InstanceOption = None,
) -> None:
    """Let servers start with a version unless another is asked for; refused without a test."""
    file, settings = _settings(path, instance)
    environment, software = _software(settings, f"{name}:{version}")
    smoke.recommend(file, environment, software, builder)
    typer.echo(
        f"{software.name} is recommended. It counts once the platform was started or deployed anew."
    )


def _settings(path: Path | None, instance: str | None) -> tuple[Path, Settings]:
    file = configuration_of(path)
    return file, config.load(file, instance=instance)


def _on_cluster(settings: Settings) -> bool:
    return bool(settings.cluster.images.registry or settings.cluster.context)


def _environments(settings: Settings) -> Mapping[str, Environment]:
    """By name, with what each starts with: an image on a cluster, else an interpreter."""
    if _on_cluster(settings):
        return {one.name: one for one in images.environments(settings)}
    return {one.name: one for one in with_interpreters(settings).servers.environments}


def _software(settings: Settings, name: str) -> tuple[Environment, Software]:
    base, colon, version = name.partition(":")
    environments = _environments(settings)
    if base not in environments:
        raise NotFound(f"There is no environment '{base[:40]}': {', '.join(environments)}.")
    environment = environments[base]
    return environment, environment.software(version if colon else None, _now().date())


def _shown(software: Software, kept: records.ImageRecords) -> Shown:
    record = kept.of(software.image or software.interpreter or "")
    test = record.smoke_test
    return Shown(
        name=software.name,
        image=software.image,
        interpreter=None if software.image else software.interpreter,
        bytes=record.bytes,
        digest=record.digest or (test.digest if test else None),
        built_at=record.built_at,
        pushed_digest=record.pushed_digest,
        smoke_tested_at=test.tested_at if test and smoke.is_tested(record) else None,
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
