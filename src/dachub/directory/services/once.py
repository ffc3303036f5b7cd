"""What is sent twice counts once: a form that is clicked again, a request whose answer was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256

from dachub.directory.models import Answer, KeyReused, Principal
from dachub.directory.store.once import OnceStore
from dachub.infra.clock import Clock


class OnceService:
    """Remembers keys and answers in the transaction that does what was sent."""

    def __init__(self, store: OnceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def answer(
        self, by: Principal, key: str, contents: str, act: Callable[[], Awaitable[str]]
    ) -> Answer:
        """What ``act`` answers; where the key was sent before, what it answered then.

        Of two at once the second waits for the first. What fails leaves nothing behind, and may be
        sent again under its key.

        Parameters
        ----------
        key
            Names one wish of ``by``.
        contents
            All that was sent: one key cannot mean two things.

        Raises
        ------
        KeyReused
            If the key came with other contents before.
        """
        name, digest = _digest(key), _digest(f"{by.kind} {contents}")
        if await self._store.claim(by.name, name, digest, self._clock.now()):
            answer = await act()
            await self._store.keep(by.name, name, answer)
            return Answer(answer)
        contents_then, answer = await self._store.earlier(by.name, name)
        if contents_then != digest:
            raise KeyReused(
                "This Idempotency-Key was sent before, with something else; nothing was changed. "
                "Give every new wish a key of its own."
            )
        return Answer(answer, is_repeated=True)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
