"""When running servers must end: asked for, left group, disabled person, quota spent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from dachub.directory.models import LeftBehind, Principal
from dachub.model.sessions import EndReason, SessionRecord
from dachub.server.attempts import Attempts
from dachub.server.factory import Factory, Process


async def request_stop(services: Factory, by: Principal, session_id: UUID) -> bool:
    """Have a session's server stopped; kept until done, also if the hub does not answer now.

    Returns
    -------
    bool
        ``False`` if the session has ended already.

    Raises
    ------
    NotFound
        If there is no such session, or ``by`` may not know of it.
    PermissionDenied
        Unless it is their own, or they administer.
    """
    session = await services.sessions().stoppable(by, session_id)
    if session.state == "ended":
        return False
    await services.sessions().schedule_stop(session_id, services.clock.now(), EndReason.STOPPED)
    await services.audit().record(
        by,
        "stop-requested",
        username=session.username,
        group=session.group,
        session_id=str(session_id),
    )
    return True


async def stop_due(process: Process) -> str:
    """Stop what is due, through the hub; what does not stop now is due again at the next run."""
    async with process.factory() as services:
        found = await services.sessions().due_for_stop(process.clock.now())
    due, said = await _confirmed(process, found)
    if not due:
        return f"nothing due{said}"
    # The server of that name may be a newer session by now: only the one that is due is stopped.
    active = {server.session_id: server for server in await process.hub.active_servers()}
    stopped, attempts = 0, Attempts()
    for session in due:
        if session.session_id in active:
            with attempts.at(session.username):
                await process.hub.stop_server(session.username, session.server_name)
                stopped += 1
    attempts.conclude()
    return f"{len(due)} due, {stopped} told to stop{said}"


async def _confirmed(
    process: Process, due: Sequence[SessionRecord]
) -> tuple[Sequence[SessionRecord], str]:
    """What is really to be stopped: of what is due for its quota only what still must, for sure."""
    now = process.clock.now()
    spent = [session for session in due if _is_for_quota_alone(session, now)]
    if not spent:
        return due, ""
    before = process.vigil
    async with process.factory() as services:
        vigil, confirmed, said = await services.enforcement().confirmed(before, spent)
    if process.vigil is before:  # else it was enforced meanwhile, and that knows better
        process.vigil = vigil
    others = [session for session in due if not _is_for_quota_alone(session, now)]
    return [*others, *confirmed], f"; {said}" if said else ""


def _is_for_quota_alone(session: SessionRecord, now: datetime) -> bool:
    """Whether nothing but its quota stops a session; its machine may be taken away, too."""
    maintenance_at = session.maintenance_at
    return session.stop_due_reason == EndReason.QUOTA and not (
        maintenance_at is not None and maintenance_at <= now
    )


async def notice_leavers(process: Process) -> str:
    """Give notice to what runs on a group that its person has left; take it back if they return."""
    grace = timedelta(seconds=process.settings.directory.leave_grace_seconds)
    noticed = withdrawn = 0
    async with process.factory() as services:
        await services.ledger().lock()  # several sessions are changed
        running = await services.sessions().running()
        left = await services.groups().left({session.username for session in running})
        for session in running:
            gone = (session.username, session.group) in left
            due_at = process.clock.now() + grace
            if gone and session.goes_on_until(due_at):
                await services.sessions().schedule_stop(
                    session.session_id, due_at, EndReason.LEFT_GROUP
                )
                noticed += 1
            elif not gone and session.stop_due_reason == EndReason.LEFT_GROUP:
                await services.sessions().schedule_stop(session.session_id, None, None)
                withdrawn += 1
    return f"{noticed} given notice, {withdrawn} notices withdrawn"


async def end_disabled(process: Process) -> str:
    """Stop all servers and end all tokens of people who were disabled; until it is done."""
    async with process.factory() as services:
        left_behind = await services.people().left_behind()
    ended, attempts = 0, Attempts()
    for left in left_behind:
        with attempts.at(left.username):
            if await _end(process, left):
                ended += 1
                async with process.factory() as services:
                    await services.people().enforced(left)
    attempts.conclude()
    return f"{ended} of {len(left_behind)} disabled people ended" if left_behind else "nobody"


async def _end(process: Process, left: LeftBehind) -> bool:
    async with process.factory() as services:
        running = await services.sessions().running(left.username)
    # One at a time: so it need not wait for the ledger, which may be at work for minutes.
    for session in running:
        async with process.factory() as services:
            await services.sessions().schedule_stop(
                session.session_id, process.clock.now(), EndReason.DISABLED
            )
    await process.hub.delete_tokens(left.username)
    for server_name in await process.hub.servers_of(left.username):
        await process.hub.stop_server(left.username, server_name)
    return not await process.hub.servers_of(left.username)


async def stop_servers_of_disabled(process: Process, usernames: set[str]) -> None:
    """Stop what a disabled person started in the moment they were disabled."""
    async with process.factory() as services:
        disabled = await services.people().disabled()
    attempts = Attempts()
    for username in sorted(usernames & disabled):
        with attempts.at(username):
            for server_name in await process.hub.servers_of(username):
                await process.hub.stop_server(username, server_name)
    attempts.conclude()
