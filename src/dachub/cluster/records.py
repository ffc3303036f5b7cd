"""``images.json`` beside ``dachub.yaml``: what was built, pushed and tested, what is recommended.

Commands write it; a person who edits ``dachub.yaml`` never has to. An entry about an image counts
only as long as the image is the one that it was made of: the digest says so.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dachub.infra.files import write_private
from dachub.model.problems import DachubError

NAME = "images.json"


class RecordUnusable(DachubError):
    """What is kept of images cannot be read."""

    code = "image-record-unusable"


class SmokeTest(BaseModel):
    """A test that was passed."""

    model_config = ConfigDict(frozen=True)

    digest: str
    tested_at: datetime
    python: str
    packages: dict[str, str] = {}


class ImageRecord(BaseModel):
    """What is known of an image, or of an interpreter, by its name."""

    digest: str | None = None
    bytes: int | None = None
    built_at: datetime | None = None
    pushed_at: datetime | None = None
    pushed_digest: str | None = None
    smoke_test: SmokeTest | None = None


class ImageRecords(BaseModel):
    """The whole file."""

    images: dict[str, ImageRecord] = {}
    recommended: dict[str, str] = {}

    def of(self, name: str) -> ImageRecord:
        """What is known of an image or interpreter; nothing at first."""
        return self.images.setdefault(name, ImageRecord())


def read(configuration: Path) -> ImageRecords:
    """What is kept beside a configuration; a file that is not there says nothing.

    Raises
    ------
    RecordUnusable
    """
    path = configuration.with_name(NAME)
    try:
        return ImageRecords.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return ImageRecords()
    except (OSError, ValidationError) as error:
        raise RecordUnusable(
            f"{path} cannot be read ({type(error).__name__}). Correct it, or remove it and test "
            "anew what you recommend."
        ) from error


@contextmanager
def changed(configuration: Path) -> Iterator[ImageRecords]:
    """Change what is kept; nobody else does meanwhile, and a kill leaves the old or the new.

    Raises
    ------
    RecordUnusable
    """
    configuration.parent.mkdir(parents=True, exist_ok=True)
    with configuration.with_name(f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = read(configuration)
        yield records
        text = json.dumps(records.model_dump(mode="json", exclude_none=True), indent=1)
        write_private(configuration.with_name(NAME), f"{text}\n")
