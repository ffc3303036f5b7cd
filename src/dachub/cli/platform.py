"""The way of the commands to the platform's data: straight to its database, as the operator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import OperationalError, ProgrammingError

from dachub import config
from dachub.config import Settings, external_database_url
from dachub.directory.models import Principal
from dachub.local.firstrun import operator
from dachub.local.layout import Layout, default_data_directory
from dachub.local.postgres import EmbeddedPostgres
from dachub.local.wiring import Endpoints
from dachub.model.names import GroupSlug
from dachub.model.problems import InvalidInput, NotFound, Unavailable
from dachub.server.factory import Factory, Process

Result = TypeVar("Result")
HERE = Path("dachub.yaml")


def layout_of(data: Path | None) -> Layout:
    """Paths of the data directory named on the command line, or of the default one.

    In a pod there is none: ``DACHUB_CONFIG`` names the configuration, which is all that is needed
    but for backups, of which ``DACHUB_OUTBOX`` and ``DACHUB_HUB_DATABASE`` name the hub's files.
    """
    named = os.environ.get("DACHUB_CONFIG")
    if data is None and named and "DACHUB_DATA" not in os.environ:
        config_file = Path(named).absolute()
        return Layout(
            config_file.parent, config_file, _named("DACHUB_OUTBOX"), _named("DACHUB_HUB_DATABASE")
        )
    return Layout(default_data_directory() if data is None else data.absolute())


def _named(variable: str) -> Path | None:
    named = os.environ.get(variable)
    return Path(named).absolute() if named else None


def configuration_of(path: Path | None) -> Path:
    """The configuration named on the command line, else the one here, else the platform's.

    Raises
    ------
    NotFound
        If there is no such file.
    """
    if path is None:
        path = HERE if HERE.exists() else layout_of(None).config
    if not path.exists():
        raise NotFound(f"There is no configuration {path}. Name it with --config.")
    return path


def settings_of(layout: Layout) -> Settings:
    """The configuration of a data directory that exists.

    Raises
    ------
    NotFound
        If there is nothing of the platform's there.
    ConfigurationError
    """
    if not layout.config.exists():
        raise NotFound(
            f"There is no platform in {layout.data}. Name its directory with --data, "
            "or make a new one with: dachub up"
        )
    return config.load(layout.config)


def database_url(layout: Layout, settings: Settings) -> str:
    """URL of the service's database, with its password.

    Raises
    ------
    Unavailable
        If it is the embedded one and was never started.
    """
    external = external_database_url(settings)
    if external is not None:
        return external
    endpoints = Endpoints.read(layout)
    if endpoints is None:
        raise Unavailable(f"The platform in {layout.data} is not running: start it with dachub up.")
    return EmbeddedPostgres(layout, endpoints.postgres_port).url()


def operate(data: Path | None, work: Callable[[Factory, Principal], Awaitable[Result]]) -> Result:
    """Do ``work`` as the operator, in one transaction.

    Raises
    ------
    Unavailable
        If the database does not answer, or was never migrated.
    """

    async def in_one_transaction(process: Process, by: Principal) -> Result:
        async with process.factory() as factory:
            return await work(factory, by)

    return operate_process(data, in_one_transaction)


def operate_process(
    data: Path | None, work: Callable[[Process, Principal], Awaitable[Result]]
) -> Result:
    """Do ``work`` as the operator, in as many transactions as it takes.

    Raises
    ------
    Unavailable
        As :func:`operate`.
    """
    layout = layout_of(data)
    settings = settings_of(layout)
    url = database_url(layout, settings)

    async def run() -> Result:
        process = Process.connect(settings, url)
        try:
            return await work(process, operator())
        finally:
            await process.close()

    try:
        return asyncio.run(run())
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[-1]
        raise Unavailable(
            f"The database of {layout.data} does not answer ({reason}). "
            "Is the platform running? Start it with: dachub up"
        ) from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != "42P01":  # a table that is not there
            raise
        raise Unavailable("The database has no tables yet. Run: dachub migrate") from error


def group_slug(text: str) -> str:
    """``text`` if it may name a group.

    Raises
    ------
    InvalidInput
    """
    try:
        return TypeAdapter(GroupSlug).validate_python(text)
    except ValidationError as error:
        raise InvalidInput(
            f"'{text[:40]}' cannot name a group: use up to 20 lower-case letters, digits, hyphens "
            "and underscores, beginning and ending with a letter or digit."
        ) from error
