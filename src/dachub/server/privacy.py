"""What is kept of people: their archive; retention and forgetting, the work in the background."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from uuid import UUID

from fastapi import Response

from dachub.directory.models import Principal
from dachub.model.names import is_username
from dachub.model.problems import DachubError
from dachub.privacy.models import Forgetting
from dachub.privacy.services import Spared
from dachub.server.attempts import Attempts
from dachub.server.factory import Factory, Process

BATCH = 500
BATCHES_MAX = 50
"""In one run; the next goes on."""


async def archive(caller: Principal, services: Factory) -> Response:
    """Everything that is held about the caller, to be kept as a file."""
    data = await services.personal_data().of(caller, caller.name, services.settings.site.name)
    return Response(
        await asyncio.to_thread(data.as_zip),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{caller.name}-data.zip"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


class HomeNotDeleted(DachubError):
    """A home directory is still there; the person is not forgotten before it is gone."""

    code = "home-not-deleted"


async def delete_home(homes: Path, username: str) -> None:
    """Delete a home directory with all that is in it; nothing happens if there is none.

    Raises
    ------
    HomeNotDeleted
    """
    if not is_username(username):
        raise HomeNotDeleted(f"'{username[:40]}' names no home directory.")
    program = await asyncio.create_subprocess_exec(
        "rm", "-rf", "--one-file-system", "--", homes / username, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()  # this run took too long; the next one goes on
    if program.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise HomeNotDeleted(f"A home directory could not be deleted: {lines[-1][:200]}.")


async def retain_records(services: Factory, spared: Spared, limit: int = BATCH) -> int:
    """Deal with some records whose term is over; returns at how many it looked.

    A batch is one transaction: whatever happens after it, it is whole.
    """
    return await services.retention().run_batch(limit, spared)


async def retain_sessions(services: Factory, spared: set[UUID], limit: int = BATCH) -> int:
    """Do so with sessions: apart, since it keeps the ledger from being written."""
    before = services.retention().term_began("sessions")
    return 0 if before is None else await services.ledger().pseudonymise(before, limit, spared)


async def retain(process: Process) -> str:
    """Put pseudonyms where the term of a name is over, batch by batch."""
    looked_at = 0
    records: Spared = set()
    sessions: set[UUID] = set()
    for batch in (
        partial(retain_records, spared=records),
        partial(retain_sessions, spared=sessions),
    ):
        for _ in range(BATCHES_MAX):
            async with process.factory() as services:
                found = await batch(services)
            looked_at += found
            if not found:
                break
    async with process.factory() as services:
        late = await services.forgetting().catch_up()
    held_up = len(records) + len(sessions)
    said = f"; {held_up} of them keep theirs, see the log" if held_up else ""
    return f"{looked_at} records past their term{said}; {late} forgotten names in late ones"


async def forget_people(process: Process) -> str:
    """Forget who is to be forgotten, once the hub has let go of them."""
    async with process.factory() as services:
        pending = await services.forgetting().pending()
    forgotten, attempts = 0, Attempts()
    for each in pending:
        if each.ready:
            with attempts.at(each.username):
                forgotten += await _forget(process, each)
    attempts.conclude()
    return f"{forgotten} of {len(pending)} people forgotten" if pending else "nobody"


async def _forget(process: Process, one: Forgetting) -> bool:
    """Whether the hub, the home and the database know them no more."""
    if not await process.hub.delete_user(one.username):
        return False
    if one.delete_home:
        await delete_home(process.settings.storage.homes, one.username)
    async with process.factory() as services:
        return await services.forgetting().finish(one.username) is not None
