"""Gives every server that a spawner starts a session in the ledger, from the request to the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jupyterhub.utils import maybe_future, utcnow
from pydantic import ValidationError
from tornado import web  # type: ignore[attr-defined]

from dachub.hub import environment, meters, runtime, starts
from dachub.hub.answering import answers, host_and_port
from dachub.hub.clock import now
from dachub.hub.logs import begin_request
from dachub.hub.queue import Waiting
from dachub.hub.service import ServiceDown, ServiceRefused
from dachub.model.people import HubPerson
from dachub.model.problems import ChoiceRefused, DachubError, InvalidInput, Unavailable
from dachub.model.queue import Place
from dachub.model.sessions import EndReason, SessionDescription, new_session_id
from dachub.model.site import (
    RESCUE_SIZE,
    ResolvedChoice,
    ServerChoice,
    UnknownSize,
    resolve_choice,
)
from dachub.model.software import choose_software
from dachub.model.usage import AuthorizeRequest

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub < 6
    SpawnException = None

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner as Base
else:
    Base = object

# That others are started before takes so long at most, beside the wait for cores.
GATE_SECONDS = 1800
OPTIONS = ("group", "size", "environment", "image")
OPTIONS_ARE = "The options of a server are group, size, and environment or image."


class StartFailed(DachubError):
    """The server did not come up."""

    code = "start-failed"
    status = 500


class StartTimedOut(StartFailed):
    """The server did not answer in time."""

    code = "start-timed-out"


class ServerExited(StartFailed):
    """The server ended while it was starting."""

    code = "server-exited"


class HubEnded(StartFailed):
    """The hub ended while the server was starting."""

    code = "hub-ended"


class QueueOver(DachubError):
    """The server waited for its turn for as long as it may."""

    code = "queue-over"
    status = 409  # the hub takes no fault for it


class HomeFull(DachubError):
    """The server itself found no room in its home; the message is why."""

    code = "home-full"
    status = 507


def shown(error: DachubError) -> web.HTTPError:
    """The error as JupyterHub 5 and 6 show it to people and answer it to programs."""
    status = error.status if 400 <= error.status < 600 else 400
    wrapped: web.HTTPError
    if SpawnException is not None:
        wrapped = SpawnException(error.message, reason=error.code, status_code=status)
    else:
        wrapped = web.HTTPError(status, error.message)
    wrapped.jupyterhub_message = error.message
    return wrapped


def read_options(options: object) -> ServerChoice:
    """A person's choice out of the options of a spawn, from the form or from REST.

    Raises
    ------
    InvalidInput
        If there are other options than these, or other values than text.
    """
    if not isinstance(options, Mapping):
        raise InvalidInput(OPTIONS_ARE)
    unknown = sorted(str(name)[:40] for name in options if name not in OPTIONS)
    if unknown:
        raise InvalidInput(f"Unknown option '{unknown[0]}'. {OPTIONS_ARE}")
    try:
        return ServerChoice.model_validate({name: options.get(name) or None for name in OPTIONS})
    except ValidationError as error:
        raise InvalidInput("Group, size, environment and image must be short texts.") from error


class SessionMixin(Base):  # type: ignore[misc]
    """Mix into any spawner, before it: ``class LocalSpawner(SessionMixin, ProcessSpawner)``.

    The session's uuid and description live in the spawner's persisted state, so a restarted hub
    knows them; everything that happens is written to the outbox first. A start that a killed hub
    left half done is undone by the next one: nothing is charged for it.
    """

    session: SessionDescription | None = None
    started_at: datetime | None = None
    died_at: datetime | None = None
    machine_lost = False
    vouched_until: datetime | None = None
    choice: ResolvedChoice | None = None
    person: HubPerson | None = None
    notice: str = ""
    rescue: str | None = None
    """Why this is a rescue session; known to the hub that started it."""
    waiting: Waiting | None = None
    end_reason = EndReason.STOPPED
    _half_started = False
    _end_told = False

    # What a spawner may add

    @property
    def image_digest(self) -> str | None:
        """Of the image in which the server runs; ``None`` where it runs in none."""
        return None

    async def prepare(self, choice: ResolvedChoice) -> None:
        """Get ready to start; raises DachubError with a message for the person."""

    async def trouble(self) -> str | None:
        """Why the person could not work in a server as chosen, and must make room; for them."""
        return None

    async def launch(self) -> Any:
        """Start the server itself; returns its address.

        Raises
        ------
        HomeFull
            If the server found that it has no room to work: a rescue session follows.
        """
        return await super().start()

    async def failure_reason(self) -> str:
        """What is known of why the server did not come up; for the person."""
        return ""

    async def clean_up(self) -> None:
        """Remove what the server left behind, once it is dead."""

    # What the hub calls

    @property
    def running_session_id(self) -> UUID | None:
        """The session, once its server answers."""
        return self.session.session_id if self.session and self.started_at else None

    @property
    def sign_of_life_at(self) -> datetime:
        """Up to when it is known that the server lives, while nothing tells of its end."""
        return now()

    @property
    def ends_at(self) -> datetime | None:
        """When a rescue session has had its time; other sessions may go on."""
        if self.session is None or self.started_at is None or self.session.size != RESCUE_SIZE:
            return None
        limit_seconds = runtime.current().settings.servers.rescue.limit_seconds
        return self.started_at + timedelta(seconds=limit_seconds)

    def load_state(self, state: dict[str, Any]) -> None:
        """Know the session again after a restart of the hub."""
        super().load_state(state)
        if state.get("session"):
            self.session = SessionDescription.model_validate(state["session"])
            started = state.get("started_at")
            self.started_at = datetime.fromisoformat(started) if started else None
            self._half_started = self.started_at is None

    def get_state(self) -> dict[str, Any]:
        """What a later hub must know."""
        state: dict[str, Any] = super().get_state()
        if self.session is not None:
            state["session"] = self.session.model_dump(mode="json")
            state["started_at"] = self.started_at.isoformat() if self.started_at else None
        return state

    def clear_state(self) -> None:
        """Forget the session."""
        super().clear_state()
        self.session = self.started_at = self.choice = self.rescue = None
        self.waiting = Waiting()
        self.end_reason = EndReason.STOPPED
        self._half_started = self._end_told = False

    def get_env(self) -> dict[str, str]:
        """Environment of the server."""
        env: dict[str, str] = super().get_env()
        if self.session is not None:
            settings = runtime.current().settings
            env |= environment.of_session(self.session, self.person, settings)
            if self.rescue is not None:
                env |= environment.of_rescue(self.rescue, settings)
        return env

    async def start(self) -> Any:
        """Ask whether the server may start, start it, and return when it answers."""
        begin_request()
        with meters.counted():
            return await self._start_or_rescue()

    async def poll(self) -> int | None:
        """``None`` while the server lives."""
        if self._half_started:
            self._half_started = False
            killed = HubEnded("The hub was killed while this server started.")
            starts.tell_failure(self.user.name, self.session, killed)
            await super().stop(now=True)
        status: int | None = await super().poll()
        return status

    async def stop(self, now: bool = False) -> None:
        """Stop the server; the session ends when it is dead."""
        await super().stop(now)
        await self._end(self.end_reason, seen=True)

    async def run_post_stop_hook(self) -> None:
        """End the session of a server that was found dead."""
        # Lost is what is only concluded: it would give way to whoever believed longer that it ran.
        is_known = self.died_at is not None or self.vouched_until is not None
        await self._end(EndReason.EXITED if is_known else EndReason.LOST, seen=False)
        await maybe_future(super().run_post_stop_hook())

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the waiting person sees."""
        async for event in self.places():
            yield event
        if self.notice:
            yield {"progress": 20, "message": self.notice}
        yield {"progress": 50, "message": "Your server is starting"}

    async def places(self) -> AsyncIterator[dict[str, Any]]:
        """Where the person is in the queue, until it is their turn."""
        if self.waiting is not None:
            async for text in self.waiting.texts():
                yield {"progress": 10, "message": text, "step": "queue"}

    # Inside

    async def _start_or_rescue(self) -> Any:
        try:
            try:
                # Asked first: who must make room may start a rescue session also without time.
                return await self._start_session(await self.trouble())
            except HomeFull as full:
                starts.tell_failure(self.user.name, self.session, full)
                await super().stop(now=True)
                await self._end(EndReason.FAILED, seen=True)
                self.session = None
                return await self._start_session(full.message)
        except DachubError as error:
            starts.tell_failure(self.user.name, self.session, error)
            raise shown(error) from error
        except Exception as error:
            starts.tell_failure(self.user.name, self.session, error)
            raise

    async def _start_session(self, trouble: str | None) -> Any:
        live, session_id = runtime.current(), new_session_id()
        waiting = self.waiting = self.waiting or Waiting()
        async with live.queue.entry(session_id):
            self.choice = await self._turn(session_id, trouble, waiting)
            if self.rescue is not None:
                self.choice = self._rescuing(self.choice, self.rescue)
            self.person = await live.people.last_known(self.user.name)
            self.session = self._describe(session_id, self.choice)
            self.cpu_limit = self.choice.size.milli_cores / 1000
            self.mem_limit = self.choice.size.memory_bytes
            await live.outbox.requested(self.session)
        starts.tell(starts.Action.REQUESTED, self.session)
        limit_seconds = live.settings.servers.start_timeout_seconds
        async with live.start_gate.turn(waiting):
            waiting.over()
            begun_at = time.monotonic()
            self._note_start()
            try:
                async with asyncio.timeout(limit_seconds):
                    await self.prepare(self.choice)
                    address = await self.launch()
                    self._save()
                    await self._until_up(address)
            except TimeoutError as error:
                raise StartTimedOut(
                    f"Your server did not answer within {limit_seconds} s and was given up. "
                    f"{await self.failure_reason()}Try again, or ask "
                    f"{live.settings.site.contact}."
                ) from error
            except OSError as error:
                self.log.exception("%s could not be started", self._log_name)
                raise StartFailed(
                    f"Your server could not be started ({error.strerror or 'system error'}). "
                    f"Ask {live.settings.site.contact}."
                ) from error
        self.started_at = await live.outbox.started(self.session, now(), self.image_digest)
        starts.tell(starts.Action.STARTED, self.session)
        meters.START_SECONDS.observe(time.monotonic() - begun_at)
        return address

    async def _turn(
        self, session_id: UUID, trouble: str | None, waiting: Waiting
    ) -> ResolvedChoice:
        """The choice, checked, as soon as there are cores for it.

        After each wait all is decided anew: who left the group meanwhile starts nothing.
        """
        live = runtime.current()
        limit_seconds = live.settings.servers.queue_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                while True:
                    async with live.queue.deciding:
                        choice, place = await self._decide(session_id, trouble)
                    if place is None:
                        return choice
                    await live.queue.wait(session_id, place, waiting)
        except TimeoutError as error:
            raise QueueOver(
                f"Your server waited {limit_seconds} s for its turn and was given up. "
                f"Try again, or ask {live.settings.site.contact}."
            ) from error

    async def _decide(
        self, session_id: UUID, trouble: str | None
    ) -> tuple[ResolvedChoice, Place | None]:
        """Check the choice: by the service, or by the hub's memory while the service is down.

        With the choice comes the place where it waits for cores, if it does.
        """
        live = runtime.current()
        self.notice, self.rescue = "", trouble
        choice = read_options(self.user_options or {})
        offer, today = live.settings.servers, now().date()
        try:
            decision = await live.service.authorize(
                AuthorizeRequest(
                    username=self.user.name,
                    choice=choice,
                    session_id=session_id,
                    server_name=self.name,
                    trouble=trouble,
                )
            )
        except ServiceRefused as refusal:
            raise ChoiceRefused(refusal.message) from refusal
        except ServiceDown as error:
            if live.settings.servers.when_service_is_down == "deny":
                raise Unavailable(
                    "The accounting service does not answer, and this site starts no servers "
                    f"without it. Try again in some minutes, or ask {live.settings.site.contact}."
                ) from error
            self.log.warning("%s Deciding by what the hub remembers.", error.message)
            person = await live.people.last_known(self.user.name)
            if person.disabled:
                raise live.people.disabled() from error
            groups = [membership.group for membership in person.groups]
            resolved = resolve_choice(
                choice, groups, offer.sizes, offer.environments, offer.own_images, today
            )
            return resolved, None
        if not decision.allowed:
            raise ChoiceRefused(decision.message)
        self.notice, self.rescue = decision.message, trouble or decision.rescue
        offered = [*offer.sizes, offer.rescue.size]
        size = next((size for size in offered if size.name == decision.size), None)
        if decision.group is None or size is None:
            raise UnknownSize("The hub and the service are configured differently: unknown size.")
        software = choose_software(
            decision.environment,
            decision.image,
            decision.group,
            offer.environments,
            offer.own_images,
            today,
        )
        resolved = ResolvedChoice(group=decision.group, size=size, environment=software)
        return resolved, decision.place

    def _rescuing(self, choice: ResolvedChoice, reason: str) -> ResolvedChoice:
        """The choice with the size of a rescue session; its person is told why."""
        rescue = runtime.current().settings.servers.rescue
        self.notice = (
            f"{reason} So this is a rescue session: a small server for at most "
            f"{rescue.limit_seconds // 60} minutes, in which you make room. {self.notice}"
        )
        self.log.warning("%s starts as a rescue session: %s", self._log_name, reason)
        software = choice.environment
        if software.is_own:  # its page is in the site's images
            offer = runtime.current().settings.servers
            software = choose_software(
                None, None, choice.group, offer.environments, offer.own_images, now().date()
            )
        return choice.model_copy(update={"size": rescue.size, "environment": software})

    def _note_start(self) -> None:
        """Let the hub know that the server starts only now, lest its wait counts as idleness.

        Whoever commits next writes it: a commit of its own would hold up a storm of starts.
        """
        at = utcnow(with_tz=False)
        self.orm_spawner.started = self.orm_spawner.last_activity = at

    def _describe(self, session_id: UUID, choice: ResolvedChoice) -> SessionDescription:
        return SessionDescription(
            session_id=session_id,
            username=self.user.name,
            group=choice.group,
            server_name=self.name,
            size=choice.size.name,
            environment=choice.environment.name,
            image=choice.environment.image if choice.environment.is_own else None,
            milli_cores=choice.size.milli_cores,
            memory_bytes=choice.size.memory_bytes,
            gpus=choice.size.gpus,
            requested_at=now(),
        )

    def _save(self) -> None:
        """Have the hub's database know of the process at once, not only when it answers."""
        self.orm_spawner.state = self.get_state()
        self.db.commit()

    async def _until_up(self, address: Any) -> None:
        """Wait for the first answer; a server that dies meanwhile is an error with a reason."""
        host, port = address if isinstance(address, tuple) else host_and_port(address)
        path = str(PurePath(self.server.base_url) / "api")
        pause_seconds = 0.05
        while True:
            status = await self.poll()
            if status is not None:
                raise ServerExited(
                    f"Your server stopped while it was starting (exit status {status}). "
                    f"{await self.failure_reason()}"
                    f"If this goes on, ask {runtime.current().settings.site.contact}."
                )
            if await answers(host, port, path):
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.3, 0.5)

    async def _end(self, reason: EndReason, *, seen: bool) -> None:
        """Close the session if the server is dead; the outbox sees to it that this counts once."""
        if self.session is None:
            return
        if await self.poll() is None:
            self.log.error("%s does not die; its session goes on", self._log_name)
            return
        if self.machine_lost and self.died_at is None:
            reason, seen = EndReason.MACHINE_LOST, False
        at, outbox = self.died_at or (now() if seen else None), runtime.current().outbox
        if at is None and self.vouched_until is not None:
            await outbox.seen_alive({self.session.session_id: self.vouched_until})
        await outbox.ended(self.session, started_at=self.started_at, at=at, reason=reason)
        if self.started_at is not None and not self._end_told:
            self._end_told = True
            starts.tell_end(self.session, reason)
        await self.clean_up()
