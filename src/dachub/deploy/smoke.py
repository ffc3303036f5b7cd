"""The smoke test that an environment passes before it is recommended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ValidationError

from dachub.cluster import records
from dachub.cluster.records import SmokeTest
from dachub.deploy import builders
from dachub.deploy.builders import NoBuilder, RunFailed, run_script
from dachub.model.problems import Conflict, DachubError, InvalidInput, NotFound
from dachub.model.software import Environment, Software

SCRIPT = Path(__file__).with_name("smoke_script.py")
DESCRIBE = "--describe"


class SmokeTestFailed(DachubError):
    """An environment does not do what it promises."""

    code = "smoke-test-failed"


class NotTested(Conflict):
    """A version is to be recommended that passed no test."""

    code = "not-tested"


class _Said(BaseModel):
    python: str
    packages: dict[str, str]
    digest: str


def passed(
    configuration: Path, environment: Environment, software: Software, builder: str | None
) -> SmokeTest:
    """Test what a server would start with, and keep the result.

    Raises
    ------
    SmokeTestFailed
        With what went wrong; an earlier result is forgotten then.
    NoBuilder, NotFound
        If the image cannot be run here.
    """
    try:
        said = _run(software, list(environment.modules), builder)
    except RunFailed as error:
        with records.changed(configuration) as kept:
            kept.of(_key(software)).smoke_test = None
        raise SmokeTestFailed(
            f"{software.name} did not pass its smoke test. {error.message}"
        ) from error
    digest = said.digest
    if software.image is not None:
        digest = builders.find(builder).about(software.image).digest
    test = SmokeTest(
        digest=digest,
        tested_at=datetime.now(UTC).replace(microsecond=0),
        python=said.python,
        packages={
            name: version
            for name, version in said.packages.items()
            if name.lower() in {module.partition(".")[0].lower() for module in environment.modules}
        },
    )
    with records.changed(configuration) as kept:
        kept.of(_key(software)).smoke_test = test
    return test


def recommend(
    configuration: Path, environment: Environment, software: Software, builder: str | None
) -> None:
    """Let servers start with a version unless another is asked for.

    Raises
    ------
    InvalidInput
        If the environment has no versions.
    NotTested
        Unless it passed its smoke test as it is now.
    """
    _, colon, version = software.name.partition(":")
    if not colon:
        raise InvalidInput(f"The environment '{environment.name}' has no versions to recommend.")
    kept = records.read(configuration)
    test = kept.of(_key(software)).smoke_test
    if test is None or test.digest != _digest_now(software, builder):
        why = "passed no smoke test" if test is None else "is not what passed the smoke test"
        raise NotTested(f"{software.name} {why}. Test it first: dachub image test {software.name}")
    with records.changed(configuration) as changing:
        changing.recommended[environment.name] = version


def is_tested(record: records.ImageRecord) -> bool:
    """Whether what was built last passed; of what was not built here the last result counts."""
    test = record.smoke_test
    return test is not None and record.digest in {None, test.digest}


def _digest_now(software: Software, builder: str | None) -> str | None:
    """Of what would start now; an image that is not here is what it was when it was built."""
    if software.image is None:
        return _run(software, [DESCRIBE], builder).digest
    try:
        return builders.find(builder).about(software.image).digest
    except (NoBuilder, NotFound):
        raise NotFound(
            f"The image {software.image} is not on this machine, so nobody can tell whether it is "
            "the one that was tested. Recommend it where it was tested."
        ) from None


def _run(software: Software, arguments: list[str], builder: str | None) -> _Said:
    script = SCRIPT.read_text(encoding="utf-8")
    if software.image is not None:
        said = builders.find(builder).run(software.image, ["python", "-", *arguments], script)
    elif software.interpreter is not None:
        # The operator's own settings are not the environment's.
        with TemporaryDirectory() as home:
            command = ["env", "-C", home, f"HOME={home}", software.interpreter, "-", *arguments]
            said = run_script(command, script)
    else:
        raise NotFound(f"The configuration names neither image nor interpreter of {software.name}.")
    try:
        return _Said.model_validate_json(said.strip().splitlines()[-1])
    except (IndexError, ValidationError) as error:
        raise RunFailed("It did not say what is installed.") from error


def _key(software: Software) -> str:
    name = software.image or software.interpreter
    if name is None:
        raise NotFound(f"The configuration names neither image nor interpreter of {software.name}.")
    return name
