"""``python -m dachub.server``: the service as a process, told everything by its environment."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import structlog
import uvicorn
from pydantic import BaseModel, Field, ValidationError

from dachub import __version__
from dachub.config import (
    DATABASE_URL,
    ConfigurationError,
    Settings,
    external_database_url,
    load,
    metrics_token,
    smtp_password,
)
from dachub.infra.database import create_engine
from dachub.infra.logging import configure_logging
from dachub.model.problems import DachubError
from dachub.notices.services import Postman
from dachub.server.app import create_app
from dachub.server.auth import PREFIX
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI
from dachub.server.workers import Work, Workers, workers_of

LISTEN = "127.0.0.1"
SHUTDOWN_SECONDS = 15
"""How long answers that were begun may take once the process was told to end."""
KEEP_ALIVE_SECONDS = 65
# A token of 8 kB beside large cookies passes the proxies in front; h11 would take 16 kB of all.
HEADER_BYTES_MAX = 64 * 1024

log = structlog.get_logger(__name__)


class Environment(BaseModel):
    """The service's environment; ``DACHUB_`` before each name, in capitals."""

    config: Path
    hub_token: str = Field(repr=False, min_length=16)
    service_token: str = Field(repr=False, min_length=16)
    portal_secret: str = Field(repr=False, min_length=16)
    hub_api_url: str
    public_url: str
    service_port: int = Field(ge=1, le=65535)
    service_host: str = LISTEN
    drain_seconds: int = Field(default=0, ge=0, le=10)
    """How long to go on taking requests once told to end, until nobody sends any here."""
    work: Work | Literal["all"] = "all"
    log_file: Path | None = None
    admin_password: str = Field(default="", repr=False)
    synthetic_password: str = Field(default="", repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Environment:
        """Take the values out of ``environ``, and the secrets away from our own children.

        Raises
        ------
        ValidationError
        """
        names = cls.model_fields
        return cls.model_validate(
            {name: environ[key] for name in names if (key := f"DACHUB_{name.upper()}") in environ}
        )


class Server(uvicorn.Server):
    """Ends in order: first it says that it will, then it takes no more, then it finishes."""

    def __init__(self, config: uvicorn.Config, process: Process, drain_seconds: int) -> None:
        super().__init__(config)
        self._process = process
        self._drain_seconds = drain_seconds

    async def main_loop(self) -> None:
        """Serve until told to end, and on while others still learn of it."""
        await super().main_loop()
        self._process.is_ending = True
        await asyncio.sleep(self._drain_seconds)


def main() -> int:
    """Serve until told to stop."""
    try:
        environment = Environment.read(os.environ)
        settings = load(environment.config)
        configure_logging(environment.log_file, settings.logs.level, settings.privacy.logs_days)
        database_url = _database_url(settings)
        postman = _postman(settings, environment.public_url)
        token = metrics_token(settings) or ""
    except ValidationError as error:
        missing = ", ".join(f"DACHUB_{str(each['loc'][0]).upper()}" for each in error.errors())
        sys.stderr.write(f"dachub.server: missing or wrong in the environment: {missing}\n")
        return 2
    except DachubError as error:
        sys.stderr.write(f"dachub.server: {error.message}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"dachub.server: {error.filename}: {error.strerror}\n")
        return 2
    process = Process(
        settings,
        create_engine(database_url),
        hub=HubAPI(environment.hub_api_url, environment.service_token),
        hub_token=environment.hub_token,
        portal_secret=environment.portal_secret,
        public_url=environment.public_url,
        database_url=database_url,
        metrics_token=token,
        postman=postman,
    )
    # uvicorn ends in order on these, and then passes them on to whoever held them before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    kinds = tuple(Work) if environment.work == "all" else (environment.work,)
    workers = Workers(
        process,
        workers_of(settings, kinds),
        admin_password=environment.admin_password,
        synthetic_password=environment.synthetic_password,
    )
    app = create_app(process, workers=workers)
    # All that is there by now stays. The collector would look through it every so often, in the
    # middle of a request, for a tenth of a second.
    gc.collect()
    gc.freeze()
    log.info("service starts", version=__version__, port=environment.service_port)
    config = uvicorn.Config(
        app,
        host=environment.service_host,
        port=environment.service_port,
        # Our own line for each request carries its id and never a query; logs are ours alone.
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=list(settings.listen.trusted_proxies),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )
    server = Server(config, process, environment.drain_seconds)
    server.run()
    return 0 if server.started else uvicorn.config.STARTUP_FAILURE


def _database_url(settings: Settings) -> str:
    if (url := external_database_url(settings)) is None:
        raise ConfigurationError(f"No database is named: set database.url, or {DATABASE_URL}.")
    return url


def _postman(settings: Settings, public_url: str) -> Postman | None:
    if settings.mail is None:
        return None
    return Postman(
        settings.mail,
        smtp_password(settings),
        site=settings.site.name,
        portal_url=f"{public_url.rstrip('/')}{PREFIX}/",
    )


if __name__ == "__main__":
    sys.exit(main())
