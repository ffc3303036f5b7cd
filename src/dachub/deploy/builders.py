"""Programs that build container images: docker, podman, buildah; kaniko builds in the cluster.

Who may push is between the registry and the program (``docker login`` and its like): no name or
password passes through here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from pydantic import ByteSize, TypeAdapter

from dachub.deploy import programs
from dachub.deploy.programs import ToolMissing, ToolTooSlow
from dachub.model.problems import DachubError, NotFound, Unavailable

EPOCH = 1_580_601_600
"""Time of all files in images, so that the same sources make the same image."""
SMOKE_SECONDS_MAX = 600
SPOKE_PLAIN_HTTP = "server gave HTTP response to HTTPS client"


class NoBuilder(Unavailable):
    """Nothing on this machine can build an image."""

    code = "no-builder"


class BuildFailed(DachubError):
    """An image could not be built."""

    code = "image-build-failed"


class PushFailed(Unavailable):
    """A registry did not take an image."""

    code = "image-push-failed"


class RunFailed(DachubError):
    """An image could not be run, or what ran in it failed."""

    code = "image-run-failed"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image is made of the sources."""

    image: str
    containerfile: Path
    sources: Path
    arguments: dict[str, str]
    secrets: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is on this machine."""

    digest: str
    bytes: int


class Builder:
    """A program; this one speaks as docker does."""

    program: ClassVar[str] = "docker"
    same_times: ClassVar[tuple[str, ...]] = ()
    plain_http_advice: ClassVar[str] = (
        "Name it in insecure-registries of /etc/docker/daemon.json, if it should stay so."
    )

    def build(self, recipe: Recipe) -> None:
        """Build an image; what the program says goes to standard error.

        Raises
        ------
        BuildFailed
        """
        command = [self.program, "build", *self.same_times, "--tag", recipe.image]
        command += ["--file", str(recipe.containerfile)]
        for name, value in {"SOURCE_DATE_EPOCH": str(EPOCH), **recipe.arguments}.items():
            command += ["--build-arg", f"{name}={value}"]
        for name, path in recipe.secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        done = programs.run(*command, str(recipe.sources), shown=True)
        if done.code:
            raise BuildFailed(
                f"{self.program} could not build {recipe.image} (exit code {done.code}); "
                "why is above."
            )

    def about(self, image: str) -> Built:
        """What this machine has under a name.

        Raises
        ------
        NotFound
            If it has no such image.
        """
        found = self._inspected(image)
        return Built(str(found["Id"]), int(found["Size"]))

    def push(self, image: str, *, plain_http: bool = False) -> str | None:  # noqa: ARG002
        """Push an image; its digest in the registry, where the program tells.

        Parameters
        ----------
        plain_http
            The registry has no TLS. Docker's own service decides whether it takes that: on
            loopback it does.

        Raises
        ------
        PushFailed
        """
        self._push(image)
        repository = image.rpartition(":")[0]
        known = self._inspected(image).get("RepoDigests") or []
        digests = [one.rpartition("@")[2] for one in known if one.startswith(f"{repository}@")]
        return digests[0] if digests else None

    def run(self, image: str, command: Sequence[str], script: str) -> str:
        """What a script prints in an image, without a network.

        Raises
        ------
        RunFailed
        """
        return run_script(
            [self.program, "run", "--rm", "--interactive", "--network=none", image, *command],
            script,
        )

    def _inspected(self, image: str) -> dict[str, Any]:
        done = _asked(self.program, "image", "inspect", image)
        if done is None:
            raise NotFound(f"There is no image {image} here. Build it: dachub image build")
        found: dict[str, Any] = json.loads(done)[0]
        return found

    def _push(self, image: str, *options: str) -> None:
        done = programs.run(self.program, "push", *options, image)
        if not done.code:
            return
        host = image.partition("/")[0]
        said = (done.complaint.strip().splitlines() or ["it did not say why"])[-1][-500:]
        advice = (
            f"If {host} wants to know who you are, log in first: {self.program} login {host}"
            if SPOKE_PLAIN_HTTP not in said
            else f"{host} speaks plain HTTP. {self.plain_http_advice}"
        )
        raise PushFailed(f"{self.program} could not push {image}. It said: {said}\n{advice}")


class Podman(Builder):
    """Podman."""

    program = "podman"
    same_times = (f"--timestamp={EPOCH}", "--layers")
    plain_http_advice = "Set cluster.images.insecure, if it should stay so."

    def push(self, image: str, *, plain_http: bool = False) -> str | None:
        """Push an image; its digest in the registry."""
        with TemporaryDirectory() as directory:
            file = Path(directory) / "digest"
            without_tls = ("--tls-verify=false",) if plain_http else ()
            self._push(image, f"--digestfile={file}", *without_tls)
            return file.read_text().strip() or None


class Buildah(Podman):
    """Buildah, which needs no service and, with BUILDAH_ISOLATION=chroot, no rights."""

    program = "buildah"

    def about(self, image: str) -> Built:
        """What this machine has under a name."""
        done = _asked(self.program, "images", "--json", "--no-trunc", image)
        if done is None:
            raise NotFound(f"There is no image {image} here. Build it: dachub image build")
        (found,) = json.loads(done)
        size = TypeAdapter(ByteSize).validate_python(found["size"])
        return Built(found["id"], int(size))

    def run(self, image: str, command: Sequence[str], script: str) -> str:
        """What a script prints in an image."""
        container = _asked(self.program, "from", "--pull=never", image)
        if container is None:
            raise NotFound(f"There is no image {image} here. Build it: dachub image build")
        try:
            return run_script([self.program, "run", container.strip(), "--", *command], script)
        finally:
            _asked(self.program, "rm", container.strip())


BUILDERS: dict[str, type[Builder]] = {one.program: one for one in (Builder, Podman, Buildah)}


def find(name: str | None = None) -> Builder:
    """The builder of a name, else the first that works here.

    Raises
    ------
    NoBuilder
        If there is none.
    """
    if name is not None:
        if name not in BUILDERS or shutil.which(name) is None:
            known = ", ".join(BUILDERS)
            raise NoBuilder(f"'{name[:40]}' is not installed, or none of {known}.")
        return BUILDERS[name]()
    for program, kind in BUILDERS.items():
        # A docker whose service does not run is as good as none.
        if shutil.which(program) is not None and _asked(program, "info") is not None:
            return kind()
    raise NoBuilder(
        f"None of {', '.join(BUILDERS)} works here. Install one (on Debian: apt-get install "
        "buildah), or build in the cluster: dachub image build --builder kaniko"
    )


def run_script(command: Sequence[str], script: str) -> str:
    """What a command prints that reads a script.

    Raises
    ------
    RunFailed
        With the last that it said.
    """
    try:
        done = programs.run(*command, text=script, seconds=SMOKE_SECONDS_MAX)
    except (OSError, ToolMissing, ToolTooSlow) as error:
        raise RunFailed(f"{command[0]} could not be run: {error}") from error
    if done.code:
        said = (done.complaint.strip() or done.said.strip())[-1500:]
        raise RunFailed(f"It failed (exit code {done.code}): {said}")
    return done.said


def _asked(*command: str) -> str | None:
    """What a program answers; ``None`` where it fails."""
    done = programs.run(*command)
    return done.said if done.code == 0 else None
